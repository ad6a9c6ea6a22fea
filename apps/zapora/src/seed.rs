//! What a new restaurant begins with: its first admin, and something to order.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    audit::Entry,
    auth::{access::Role, password::Passwords},
    settings::FirstAdmin,
    store::{
        Store, StoreError,
        items::{self, NewItem},
        menu,
        users::{self, NewUser},
    },
};

/// Why there is no first admin, or no menu.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password cannot be hashed.
    #[error(transparent)]
    Password(#[from] crate::auth::password::Error),
}

/// How long to wait after the database did not take the first admin.
const PAUSE: Duration = Duration::from_secs(1);
/// How long whoever signs in as the first admin waits for the account.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first admin's account while it is being made. A hash takes longer than all the rest of a start, so the service is ready
/// before; but nobody signs in with that address, or takes it, before the account is there. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Making(Option<(String, watch::Receiver<bool>)>);

impl Making {
    /// Waits until the account is there, if it is the one of this address (in lower case).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it takes too long.
    pub async fn done(&self, email: &str) -> Result<(), StoreError> {
        let Some((_, made)) = self.0.as_ref().filter(|(awaited, _)| awaited == email) else { return Ok(()) };
        // Whoever makes it is gone only when the service ends.
        match tokio::time::timeout(PATIENCE, made.clone().wait_for(|made| *made)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::Unavailable { operation: "make the first admin", source: None }),
        }
    }
}

/// Makes the first admin beside the service's other work.
#[derive(Debug)]
pub struct Maker {
    admin: FirstAdmin,
    made: watch::Sender<bool>,
}

impl Maker {
    /// Who makes the first admin, and who waits for it; nobody has to when the account is there.
    ///
    /// # Errors
    /// The database's.
    pub async fn new(store: &Store, admin: Option<&FirstAdmin>) -> Result<(Option<Self>, Making), StoreError> {
        let Some(admin) = admin else { return Ok((None, Making::default())) };
        if users::by_email(store, &admin.email).await?.is_some() {
            return Ok((None, Making::default()));
        }
        let (made, making) = watch::channel(false);
        Ok((Some(Self { admin: admin.clone(), made }), Making(Some((admin.email.clone(), making)))))
    }

    /// Makes the account, however often that takes, unless the service ends.
    pub async fn run(self, store: Store, passwords: Passwords, stop: CancellationToken) {
        while let Err(error) = admin(&store, &passwords, &self.admin).await {
            tracing::error!(error = crate::jobs::chain(&error), "cannot make the first admin");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        self.made.send_replace(true);
    }
}

/// Makes the first admin, if there is no account with that address. One that is there keeps its password and its role: the
/// environment is no way to get at somebody's account.
///
/// # Errors
/// When it could not be made.
pub async fn admin(store: &Store, passwords: &Passwords, admin: &FirstAdmin) -> Result<(), Error> {
    if users::by_email(store, &admin.email).await?.is_some() {
        return Ok(());
    }
    let password_hash = passwords.hash(admin.password.expose()).await?;
    let new = NewUser { email: &admin.email, name: "Admin", password_hash: &password_hash, role: Role::Admin };
    match users::create(store, new, Timestamp::now()).await {
        Ok(user) => Entry::new("account.create", &user.id).by("system").because("the first admin").keep(store).await,
        // Another replica was quicker.
        Err(StoreError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Name, description, price in cents, words, and how many there are.
type Dish = (&'static str, &'static str, i64, &'static [&'static str], Option<i64>);

const FOOD: &[Dish] = &[
    ("Margherita", "Tomato, mozzarella, basil", 950, &["pizza", "vegetarian"], None),
    ("Marinara", "Tomato, garlic, oregano", 800, &["pizza", "vegan"], None),
    ("Diavola", "Tomato, mozzarella, spicy salami", 1150, &["pizza", "spicy"], None),
    ("Quattro Formaggi", "Mozzarella, gorgonzola, fontina, parmesan", 1250, &["pizza", "vegetarian"], None),
    ("Melanzane alla Parmigiana", "Baked aubergine, tomato, parmesan", 1390, &["vegetarian"], Some(20)),
    ("Insalata Mista", "Leaves, tomato, cucumber, olives", 690, &["vegan", "salad"], None),
    ("Tiramisù", "Made this morning", 590, &["dessert", "vegetarian"], Some(12)),
];
const DRINKS: &[Dish] = &[
    ("Water", "Still or sparkling, 0.5 l", 290, &["vegan"], None),
    ("Lemonade", "Lemons from Amalfi, 0.4 l", 420, &["vegan"], None),
    ("Espresso", "", 240, &["vegan", "hot"], None),
    ("House red", "Montepulciano d'Abruzzo, 0.2 l", 560, &["wine", "vegan"], Some(60)),
];

/// Fills an empty menu. Of several replicas that start at once, one does it: the names of menus are unique.
///
/// # Errors
/// When it could not be filled.
pub async fn demo(store: &Store) -> Result<(), StoreError> {
    if !menu::menus(store).await?.is_empty() {
        return Ok(());
    }
    let now = Timestamp::now();
    for (position, (name, tax_category, dishes)) in
        [(1, ("Pizza & co.", "food", FOOD)), (2, ("Drinks", "drink", DRINKS))]
    {
        let menu = match menu::create_menu(store, name, position, tax_category, now).await {
            Ok(menu) => menu,
            Err(StoreError::Exists { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        for (name, description, price_cents, tags, left) in dishes {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let new = NewItem {
                menu: &menu.id,
                name,
                description,
                price_cents: *price_cents,
                available: true,
                tags: &tags,
                left: *left,
            };
            items::create_item(store, new, now).await?;
        }
    }
    tracing::info!(items = FOOD.len() + DRINKS.len(), "filled the empty menu with a demonstration");
    Ok(())
}

#[cfg(test)]
mod tests {
    use service::config::Secret;

    use super::*;
    use crate::store::StoreSettings;

    #[tokio::test]
    async fn nobody_takes_the_first_admins_address_before_the_account_is_there() {
        let store = Store::open(&StoreSettings::new("sqlite::memory:")).await.unwrap();
        let admin = FirstAdmin { email: "boss@example.org".to_owned(), password: Secret::new("correct horse") };
        let (maker, making) = Maker::new(&store, Some(&admin)).await.unwrap();
        making.done("ann@example.org").await.unwrap();
        let waiting = tokio::spawn({
            let (making, store) = (making.clone(), store.clone());
            async move {
                making.done("boss@example.org").await.unwrap();
                users::by_email(&store, "boss@example.org").await.unwrap().is_some()
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        maker.unwrap().run(store.clone(), Passwords::new(4), CancellationToken::new()).await;
        assert!(waiting.await.unwrap());
        let (maker, making) = Maker::new(&store, Some(&admin)).await.unwrap();
        assert!(maker.is_none(), "the account is there");
        making.done("boss@example.org").await.unwrap();
    }

    #[tokio::test]
    async fn whoever_waits_for_an_admin_that_nobody_makes_any_more_is_told_to_come_again() {
        let (_, made) = watch::channel(false);
        let making = Making(Some(("boss@example.org".to_owned(), made)));
        assert!(matches!(making.done("boss@example.org").await, Err(StoreError::Unavailable { .. })));
    }
}
