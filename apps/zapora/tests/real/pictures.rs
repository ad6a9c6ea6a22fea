//! Pictures in an S3-like store that checks who asks.

use std::io::Cursor;

use image::GenericImageView;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use service::config::Secret;
use zapora::images::{Images, S3, pixels::Limits};

use crate::{
    people::{Person, Zapora, body, problem},
    python::Server,
};

/// A store, and the settings with which it is reached.
fn s3() -> Option<(Server, [(&'static str, String); 4])> {
    let (server, told) = Server::start("s3.py", "boto3, moto.server", &[])?;
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let settings = [
        ("IMAGES_S3_ENDPOINT", text("url")),
        ("IMAGES_S3_BUCKET", text("bucket")),
        ("IMAGES_S3_ACCESS_KEY", text("id")),
        ("IMAGES_S3_SECRET_KEY", text("secret")),
    ];
    Some((server, settings))
}

async fn start(settings: &[(&'static str, String)]) -> Zapora {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Zapora::start(&settings).await
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn put(zapora: &Zapora, staff: &Person, item: &Value, picture: Vec<u8>) -> reqwest::RequestBuilder {
    let path = format!("/menu-items/{}/image", item["id"].as_str().unwrap());
    zapora.by(staff, Method::PUT, &path).header(header::CONTENT_TYPE, "image/png").body(picture)
}

async fn shown(zapora: &Zapora, url: &Value) -> (String, Vec<u8>) {
    let response = zapora.request(Method::GET, url.as_str().unwrap()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_picture_in_s3_is_taken_shown_with_its_thumbnail_and_taken_away() {
    let Some((_s3, settings)) = s3() else { return };
    let zapora = start(&settings).await;
    let staff = zapora.staff("stella").await;
    let item = zapora.item("Diavola").await;
    let picture = body(put(&zapora, &staff, &item, png(1200, 900)), StatusCode::OK).await["image"].clone();
    assert_eq!((picture["width"].as_u64(), picture["height"].as_u64()), (Some(1200), Some(900)));
    let (kind, full) = shown(&zapora, &picture["url"]).await;
    let (_, thumbnail) = shown(&zapora, &picture["thumbnail_url"]).await;
    assert_eq!(kind, picture["content_type"].as_str().unwrap());
    assert_eq!(image::load_from_memory(&full).unwrap().dimensions(), (1200, 900));
    let small = image::load_from_memory(&thumbnail).unwrap().dimensions();
    assert!(small.0 < 1200 && small.0 * 3 == small.1 * 4, "{small:?}");
    assert!(!zapora.folder.path().join("images").exists(), "nothing of it is on this machine");

    let again = body(put(&zapora, &staff, &item, png(1200, 900)), StatusCode::OK).await;
    assert_eq!(again["image"], picture, "the same pixels have the same name");
    let other = body(put(&zapora, &staff, &item, png(40, 30)), StatusCode::OK).await;
    assert_ne!(other["image"]["url"], picture["url"]);
    let path = format!("/menu-items/{}", item["id"].as_str().unwrap());
    body(zapora.by(&staff, Method::DELETE, &format!("{path}/image")), StatusCode::NO_CONTENT).await;
    assert_eq!(zapora.get(&path).await["image"], Value::Null);
    problem(zapora.request(Method::GET, &format!("/images/{}.png", "a".repeat(64))), 404).await;
    let ready = zapora.get("/ready").await;
    assert_eq!(ready["checks"]["images"]["status"], "ok");
    zapora.stop().await;
}

#[tokio::test]
async fn a_store_that_does_not_know_the_keys_or_is_gone_is_told_of_and_costs_the_pictures_only() {
    let Some((mut s3, settings)) = s3() else { return };
    for wrong in ["IMAGES_S3_SECRET_KEY", "IMAGES_S3_ACCESS_KEY", "IMAGES_S3_BUCKET", ""] {
        let mut settings = settings.clone();
        if let Some((_, value)) = settings.iter_mut().find(|(name, _)| *name == wrong) {
            *value = "of-somebody-else".to_owned();
        } else {
            s3.kill();
        }
        let zapora = start(&settings).await;
        let staff = zapora.staff("stella").await;
        let item = zapora.item("Diavola").await;
        let told = problem(put(&zapora, &staff, &item, png(40, 30)), 503).await;
        assert_eq!(told["detail"], "the image store does not answer now", "{wrong}");
        let ready = zapora.get("/ready").await;
        assert_eq!(ready["checks"]["images"]["status"], "failed", "{wrong}");
        assert_eq!(ready["checks"]["database"]["status"], "ok");
        let ann = zapora.customer("ann").await;
        body(zapora.order(&ann, "k", &item, 1), StatusCode::CREATED).await;
        assert_eq!(zapora.item("Diavola").await["image"], Value::Null);
        zapora.stop().await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_from_a_picture_that_is_not() {
    let check = async |code: &'static str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        let app = axum::Router::new().fallback(async move || (StatusCode::NOT_FOUND, body));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let key = Some(("id".to_owned(), Secret::new("secret")));
        let s3 = S3 { endpoint, bucket: "pictures".to_owned(), region: "here".to_owned(), key };
        Images::s3(&s3, Limits::default()).unwrap().check().await
    };
    assert!(check("NoSuchKey").await.is_ok(), "the store answers");
    assert!(check("NoSuchBucket").await.is_err(), "pictures have no place");
}
