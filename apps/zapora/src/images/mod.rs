//! Pictures of the menu: made from uploads (`pixels`), kept in a folder or an S3-like store, served by name.

pub mod pixels;

use std::{path::Path as FilePath, sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem,
    path::Path,
};
use service::config::Secret;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use self::pixels::{Kind, Limits, Pictures, Refusal};

/// How many uploads may wait for their turn to be decoded; more are told to come again.
const WAITING: usize = 8;

/// Why a picture could not be taken or given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upload is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many uploads wait already.
    #[error("{WAITING} uploads wait already")]
    Busy,
    /// The store is at fault.
    #[error("image store: {0}")]
    Store(#[from] object_store::Error),
    /// The task that decodes failed.
    #[error("decoding a picture failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Where an S3-like store is and how to get in.
#[derive(Clone, Debug)]
pub struct S3 {
    /// The URL of the endpoint, such as `http://minio:9000`; none for AWS itself.
    pub endpoint: Option<String>,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region; stores that have none take any.
    pub region: String,
    /// The access key and its secret; none to ask the environment as AWS' own tools do.
    pub key: Option<(String, Secret)>,
}

/// The name of a picture: the SHA-256 of its bytes in hexadecimal and the suffix of its kind. It depends on nothing that an
/// uploader chose but the pixels, and a name always means the same bytes, so that answers may be cached for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    digest: String,
    kind: Kind,
}

impl Name {
    fn of(picture: &Bytes, kind: Kind) -> Self {
        let digest = crate::hex(&Sha256::digest(picture));
        Self { digest, kind }
    }

    /// Reads a name: 64 lower-case hexadecimal digits, a dot, `jpg` or `png`. Anything else (with a slash, say) is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (digest, suffix) = text.split_once('.')?;
        let kind = [Kind::Jpeg, Kind::Png].into_iter().find(|kind| kind.suffix() == suffix)?;
        let hex = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Self { digest: digest.to_owned(), kind })
    }

    /// The SHA-256 of what it names, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The media type of what it names.
    pub fn media_type(&self) -> &'static str {
        self.kind.media_type()
    }

    fn path(&self) -> Path {
        // Two levels, for folders with millions of entries are slow on many file systems.
        let shard = self.digest.get(..2).unwrap_or_default();
        Path::from_iter(["images", shard, &self.to_string()])
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.digest, self.kind.suffix())
    }
}

/// What is known of a stored picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The picture's name.
    pub full: Name,
    /// Its thumbnail's name.
    pub thumbnail: Name,
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// The picture's size in bytes.
    pub bytes: usize,
}

/// The store of pictures. Clones share it.
#[derive(Clone)]
pub struct Images {
    store: Arc<dyn ObjectStore>,
    limits: Limits,
    /// One decodes at a time: each may take `limits.memory`.
    decoding: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Images {
    /// Pictures in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made or used.
    pub fn folder(root: &FilePath, limits: Limits) -> Result<Self, Error> {
        std::fs::create_dir_all(root)
            .map_err(|source| object_store::Error::Generic { store: "folder", source: source.into() })?;
        Ok(Self::on(Arc::new(LocalFileSystem::new_with_prefix(root)?.with_fsync(true)), limits))
    }

    /// Pictures in a bucket of an S3-like store.
    ///
    /// # Errors
    /// When the settings contradict each other; nothing is asked of the store yet.
    pub fn s3(settings: &S3, limits: Limits) -> Result<Self, Error> {
        let mut builder = if settings.key.is_none() { AmazonS3Builder::from_env() } else { AmazonS3Builder::new() }
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_retry(RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(8), ..Default::default() })
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(true)
                    .with_timeout(Duration::from_secs(10))
                    .with_connect_timeout(Duration::from_secs(2)),
            );
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &settings.key {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
        }
        Ok(Self::on(Arc::new(builder.build()?), limits))
    }

    fn on(store: Arc<dyn ObjectStore>, limits: Limits) -> Self {
        Self { store, limits, decoding: Arc::new(Semaphore::new(1)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    /// What uploads may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes an upload: makes its pictures off the thread of the requests, and stores them. Taking the same again changes
    /// nothing.
    ///
    /// # Errors
    /// When the upload is refused, too many wait, or the store fails.
    pub async fn take(&self, upload: Bytes) -> Result<Stored, Error> {
        let limits = self.limits;
        let _place = self.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let turn = Arc::clone(&self.decoding).acquire_owned().await.map_err(|_| Error::Busy)?;
        let made = tokio::task::spawn_blocking(move || {
            // Kept by the work, not by the request: a client that goes away must not let a second decoder in.
            let _turn = turn;
            pixels::prepare(&upload, limits)
        })
        .await??;
        let Pictures { kind, full, thumbnail } = made;
        let stored = Stored {
            full: Name::of(&full.bytes, kind),
            thumbnail: Name::of(&thumbnail.bytes, kind),
            width: full.width,
            height: full.height,
            bytes: full.bytes.len(),
        };
        // The thumbnail first: whoever finds the picture finds both.
        self.store.put(&stored.thumbnail.path(), PutPayload::from_bytes(thumbnail.bytes)).await?;
        self.store.put(&stored.full.path(), PutPayload::from_bytes(full.bytes)).await?;
        Ok(stored)
    }

    /// The bytes of a picture; none if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, name: &Name) -> Result<Option<Bytes>, Error> {
        match self.store.get(&name.path()).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(error @ object_store::Error::NotFound { .. }) if !has_no_bucket(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the store answers: asks it for a picture that is not there.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Error> {
        let nothing = Name { digest: "0".repeat(64), kind: Kind::Png };
        self.get(&nothing).await.map(drop)
    }
}

/// Whether it is not the picture that is missing. S3 answers 404 to both, with a code of its own for each ("Error responses" in its
/// documentation), which the error carries in the text of its cause.
fn has_no_bucket(error: &object_store::Error) -> bool {
    crate::jobs::chain(error).contains("NoSuchBucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        let good = format!("{}.jpg", "a1".repeat(32));
        assert_eq!(Name::parse(&good).unwrap().to_string(), good);
        for bad in [
            "",
            "..",
            "../../etc/passwd",
            "a.jpg",
            &format!("{}.svg", "a".repeat(64)),
            &format!("{}.jpg", "A".repeat(64)),
        ] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn what_is_taken_is_given_back_by_name_and_twice_is_once() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::folder(folder.path(), Limits::default()).unwrap();
        let mut upload = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(400, 10).write_to(&mut upload, image::ImageFormat::Png).unwrap();
        let upload = Bytes::from(upload.into_inner());
        let first = images.take(upload.clone()).await.unwrap();
        assert_eq!(images.take(upload).await.unwrap(), first);
        assert_ne!(first.full, first.thumbnail);
        let bytes = images.get(&first.thumbnail).await.unwrap().unwrap();
        assert_eq!(Name::of(&bytes, Kind::Jpeg), first.thumbnail);
        assert!(images.check().await.is_ok());
    }
}
