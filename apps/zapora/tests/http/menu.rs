//! The menu: what everybody reads and staff change, and its pictures.

use std::io::Cursor;

use crate::support::{Person, Zapora, body, json_of, problem};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn items_are_found_by_what_they_are_and_come_in_the_order_that_was_asked_for() {
    let zapora = Zapora::start(&[]).await;
    let cheap = zapora.get("/menu-items?sort=price&max_price=500").await;
    assert_eq!(names(&cheap), ["Espresso", "Water", "Lemonade"]);
    assert_eq!(
        names(&zapora.get("/menu-items?tag=pizza&sort=-price&min_price=1000").await),
        ["Quattro Formaggi", "Diavola"]
    );
    assert_eq!(names(&zapora.get("/menu-items?q=LEMON").await), ["Lemonade"]);
    assert_eq!(names(&zapora.get("/menu-items?q=%25").await), Vec::<&str>::new());
    let menus = zapora.get("/menus").await;
    let drinks = menus["menus"].as_array().unwrap().iter().find(|menu| menu["name"] == "Drinks").unwrap();
    let page = zapora.get(&format!("/menu-items?menu={}", drinks["id"].as_str().unwrap())).await;
    assert_eq!(names(&page), ["Espresso", "House red", "Lemonade", "Water"]);
    for bad in ["limit=0", "limit=1000", "tag=A%20b", "q=", "min_price=-1"] {
        problem(zapora.request(Method::GET, &format!("/menu-items?{bad}")), 422).await;
    }
    for bad in
        ["sort=random", "limit=x", "after=1", "unknown=1", "limit=99999999999999999999", "available=maybe", "q=%00"]
    {
        problem(zapora.request(Method::GET, &format!("/menu-items?{bad}")), 400).await;
    }
    zapora.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let zapora = Zapora::start(&[]).await;
    for sort in ["name", "-name", "price", "-price", "created", "-created"] {
        let all = zapora.get(&format!("/menu-items?limit=100&sort={sort}")).await;
        assert_eq!(all["next"], Value::Null);
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = zapora.get(&format!("/menu-items?limit=3&sort={sort}{after}")).await;
            seen.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, names(&all), "{sort}");
    }
    zapora.stop().await;
}

#[tokio::test]
async fn who_has_the_menu_already_is_not_sent_it_again_until_it_changes() {
    let zapora = Zapora::start(&[]).await;
    let staff = zapora.staff("stella").await;
    let first = zapora.request(Method::GET, "/menu-items").send().await.unwrap();
    let etag = first.headers()[header::ETAG].clone();
    assert_eq!(first.headers()[header::CACHE_CONTROL], "public, max-age=5");
    let ask = || zapora.request(Method::GET, "/menu-items").header(header::IF_NONE_MATCH, &etag);
    let again = ask().send().await.unwrap();
    assert_eq!((again.status(), again.headers()[header::ETAG].clone()), (StatusCode::NOT_MODIFIED, etag.clone()));
    let item = zapora.item("Diavola").await;
    let change = zapora.by(&staff, Method::PATCH, &format!("/menu-items/{}", item["id"].as_str().unwrap()));
    body(change.header(header::IF_MATCH, "\"1\"").json(&json!({"price_cents": 1200})), StatusCode::OK).await;
    let changed = ask().send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()[header::ETAG], etag);
    let metrics = zapora.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("cache_lookups_total{found=\"process\"}"), "{metrics}");
    zapora.stop().await;
}

#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let zapora = Zapora::start(&[]).await;
    let staff = zapora.staff("stella").await;
    let menu = zapora.get("/menus").await["menus"][0]["id"].clone();
    let new =
        json!({"menu_id": menu, "name": "Calzone", "price_cents": 1100, "tags": ["pizza", "pizza", "new"], "stock": 3});
    let made = zapora.by(&staff, Method::POST, "/menu-items").json(&new).send().await.unwrap();
    let (path, etag) =
        (made.headers()[header::LOCATION].to_str().unwrap().to_owned(), made.headers()[header::ETAG].clone());
    let item = json_of(made, StatusCode::CREATED).await;
    assert_eq!(
        (&item["tags"], &item["version"], &item["currency"]),
        (&json!(["new", "pizza"]), &json!(1), &json!("EUR"))
    );
    let change = |tag: Option<&str>, json: Value| {
        let request = zapora.by(&staff, Method::PATCH, &path).json(&json);
        match tag {
            Some(tag) => request.header(header::IF_MATCH, tag),
            None => request,
        }
    };
    problem(change(None, json!({"name": "X"})), 428).await;
    for stale in ["\"2\"", "W/\"1\"", "*", "nonsense"] {
        problem(change(Some(stale), json!({"name": "X"})), 412).await;
    }
    let changed = change(Some(etag.to_str().unwrap()), json!({"description": "Folded"})).send().await.unwrap();
    assert_eq!(changed.headers()[header::ETAG], "\"2\"");
    let changed = json_of(changed, StatusCode::OK).await;
    assert_eq!((&changed["description"], &changed["name"]), (&json!("Folded"), &json!("Calzone")));
    problem(change(Some("\"1\""), json!({"name": "X"})), 412).await;
    let nowhere = json!({"menu_id": "01890000-0000-7000-8000-000000000000"});
    problem(change(Some("\"2\""), nowhere), 409).await;
    let stock = format!("{path}/stock");
    body(zapora.by(&staff, Method::PUT, &stock).json(&json!({"left": 0})), StatusCode::NO_CONTENT).await;
    assert_eq!(body(zapora.by(&staff, Method::GET, &stock), StatusCode::OK).await, json!({"left": 0}));
    assert_eq!(zapora.get(&path).await["sold_out"], true);
    let gone = zapora.by(&staff, Method::DELETE, &path).header(header::IF_MATCH, "\"2-1\"");
    body(gone, StatusCode::NO_CONTENT).await;
    problem(zapora.request(Method::GET, &path), 404).await;
    problem(change(Some("\"3\""), json!({})), 404).await;
    zapora.stop().await;
}

#[tokio::test]
async fn menus_have_names_of_their_own_and_are_deleted_only_when_nothing_was_on_them() {
    let zapora = Zapora::start(&[]).await;
    let staff = zapora.staff("stella").await;
    let new = |name: &str| zapora.by(&staff, Method::POST, "/menus").json(&json!({"name": name, "position": 9}));
    let made = new("Breakfast").send().await.unwrap();
    let path = made.headers()[header::LOCATION].to_str().unwrap().to_owned();
    problem(new("Breakfast"), 409).await;
    let change = zapora.by(&staff, Method::PATCH, &path).json(&json!({"name": "Drinks"}));
    problem(change, 409).await;
    let change = zapora.by(&staff, Method::PATCH, &path).json(&json!({"position": 3}));
    let changed = body(change, StatusCode::OK).await;
    assert_eq!((&changed["position"], &changed["name"]), (&json!(3), &json!("Breakfast")));
    body(zapora.by(&staff, Method::DELETE, &path), StatusCode::NO_CONTENT).await;
    problem(zapora.request(Method::GET, &path), 404).await;
    let full = zapora.get("/menus").await["menus"][0]["id"].as_str().unwrap().to_owned();
    problem(zapora.by(&staff, Method::DELETE, &format!("/menus/{full}")), 409).await;
    zapora.stop().await;
}

fn png(side: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, 9]))
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

fn raw(zapora: &Zapora, staff: &Person, path: &str, kind: &str, file: Vec<u8>) -> reqwest::RequestBuilder {
    zapora.by(staff, Method::PUT, path).header(header::CONTENT_TYPE, kind).body(file)
}

/// A form whose fields have these names and (maybe) file names, and each a picture of ten pixels a side.
fn form(zapora: &Zapora, staff: &Person, path: &str, fields: &[(&str, Option<&str>)]) -> reqwest::RequestBuilder {
    let mut text = Vec::new();
    for (name, file) in fields {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        text.extend(format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        text.extend(png(10));
        text.extend(b"\r\n");
    }
    text.extend(b"--edge--\r\n");
    raw(zapora, staff, path, "multipart/form-data; boundary=edge", text)
}

#[tokio::test]
async fn a_picture_is_shown_as_what_it_is_and_can_be_taken_away() {
    let zapora = Zapora::start(&[]).await;
    let staff = zapora.staff("stella").await;
    let path = format!("/menu-items/{}/image", zapora.item("Diavola").await["id"].as_str().unwrap());
    // What the upload says it is does not matter: it is a PNG.
    let item = body(raw(&zapora, &staff, &path, "image/webp", png(700)), StatusCode::OK).await;
    let picture = &item["image"];
    assert_eq!((&picture["width"], &picture["content_type"]), (&json!(700), &json!("image/jpeg")));
    let shown = zapora.request(Method::GET, picture["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(shown.headers()[header::CONTENT_TYPE], "image/jpeg");
    assert_eq!(shown.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(shown.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    let etag = shown.headers()[header::ETAG].clone();
    let again = zapora.request(Method::GET, picture["url"].as_str().unwrap()).header(header::IF_NONE_MATCH, etag);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let thumbnail = zapora.request(Method::GET, picture["thumbnail_url"].as_str().unwrap()).send().await.unwrap();
    let thumbnail = image::load_from_memory(&thumbnail.bytes().await.unwrap()).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (320, 320));
    let item = body(form(&zapora, &staff, &path, &[("image", Some("diavola.png"))]), StatusCode::OK).await;
    assert_eq!(item["image"]["width"], 10);
    body(zapora.by(&staff, Method::DELETE, &path), StatusCode::NO_CONTENT).await;
    assert_eq!(zapora.item("Diavola").await["image"], Value::Null);
    zapora.stop().await;
}

#[tokio::test]
async fn hostile_uploads_are_refused() {
    let zapora = Zapora::start(&[("IMAGE_MAX_BYTES", "100000"), ("IMAGE_MAX_PIXELS", "250000")]).await;
    let staff = zapora.staff("stella").await;
    let path = format!("/menu-items/{}/image", zapora.item("Diavola").await["id"].as_str().unwrap());
    let mut polyglot = png(10);
    polyglot.extend_from_slice(b"<script>alert(1)</script>");
    let cut = png(100)[..200].to_vec();
    for (name, kind, file, expected) in [
        ("a page", "image/png", b"<html><script>alert(1)</script>".to_vec(), 415),
        ("a drawing with a script", "image/svg+xml", b"<svg onload='alert(1)'/>".to_vec(), 415),
        ("an archive", "image/jpeg", b"PK\x03\x04".to_vec(), 415),
        ("nothing", "image/png", Vec::new(), 415),
        ("two files in one", "image/png", polyglot, 422),
        ("half a file", "image/png", cut, 422),
        ("many pixels", "image/png", png(600), 422),
        ("many bytes", "image/png", vec![0; 100_001], 413),
    ] {
        let refused = problem(raw(&zapora, &staff, &path, kind, file), expected).await;
        assert!(refused["detail"].is_string(), "{name}");
    }
    for fields in [
        &[("image", Some("../../etc/cron.d/evil.png"))][..],
        &[("image", Some("..\\\\evil.png"))],
        &[("picture", None)],
        &[("image", None), ("image", None)],
        &[],
    ] {
        let status = form(&zapora, &staff, &path, fields).send().await.unwrap().status();
        assert!(
            status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::BAD_REQUEST,
            "{fields:?}: {status}"
        );
    }
    for name in ["..%2F..%2Fzapora.db", "%2e%2e%2fzapora.db", "a.jpg", "%00.png"] {
        let status = zapora.request(Method::GET, &format!("/images/{name}")).send().await.unwrap().status();
        assert!(status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST, "{name}: {status}");
    }
    assert_eq!(zapora.item("Diavola").await["image"], Value::Null, "nothing of it was kept");
    zapora.stop().await;
}
