//! The settings that the documentation has are those that there are.

use std::collections::BTreeSet;

use service::{Env, config::asked};
use zapora::{
    settings::{self, HttpSettings, JobSettings},
    store::Dialect,
};

#[path = "../../../service/tests/support/table.rs"]
mod table;

#[test]
fn the_documentation_has_every_setting_and_no_other() {
    let mut all = BTreeSet::new();
    // With a bucket other settings count than with a folder.
    for given in [&[][..], &[("IMAGES_S3_BUCKET", "pictures"), ("PAYMENT_URL", "http://pay")]] {
        all.extend(asked(given, |env| {
            settings::database(env);
            settings::redis(env);
            JobSettings::read(env);
            HttpSettings::read(env, Dialect::Sqlite);
        }));
    }
    assert_eq!(all, table::variables(include_str!("../../README.md"), "## Settings"));
}

/// What `read` makes of these settings, and how many of them are refused.
fn read<T>(given: &[(&str, &str)], read: impl FnOnce(&mut Env<'_>) -> T) -> (T, usize) {
    let mut env = Env::new(|name| given.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()));
    let made = read(&mut env);
    (made, env.done(|| Some(())).err().map_or(0, |wrong| wrong.problems().len()))
}

#[test]
fn the_first_admin_can_sign_in() {
    let admin = |email: &str, password: &str| {
        let given = [("ADMIN_EMAIL", email), ("ADMIN_PASSWORD", password)];
        let (settings, wrong) = read(&given, |env| HttpSettings::read(env, Dialect::Sqlite));
        (settings.and_then(|settings| settings.admin).map(|admin| admin.email), wrong)
    };
    assert_eq!(admin("Root@Example.com", "a long password"), (Some("root@example.com".to_owned()), 0));
    // The login wants a domain with a dot in it, and no longer password.
    for (email, password) in [
        ("admin@localhost", "a long password"),
        ("admin", "a long password"),
        ("root@example.com", "short"),
        ("root@example.com", &"x".repeat(129)),
    ] {
        assert_eq!(admin(email, password), (None, 1), "{email} {password}");
    }
}

#[test]
fn a_payment_provider_has_an_address_that_can_be_asked() {
    for (url, wrong) in [("https://pay.example/v1/", 0), ("pay.example", 1), ("ftp://pay.example", 1)] {
        assert_eq!(read(&[("PAYMENT_URL", url)], |env| JobSettings::read(env).is_some()).1, wrong, "{url}");
    }
}
