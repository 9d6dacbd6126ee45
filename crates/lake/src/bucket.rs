//! A bucket of S3, or of any store that speaks as it does. The store must create objects conditionally (`If-None-Match: *`): that is the commit of everything
//! that lies there.
//!
//! An answer may be lost after the thing was done. What is there is then compared with what was to be, so what creates an object must tell its writer in its bytes.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, WriteMultipart,
};
use ouzel_core::clock::Stopwatch;
use ouzel_core::error::ResultExt;
use ouzel_core::{Error, Kind, Result, Secret};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// A server that does not answer is waited for this long, as a database is.
const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST_SECONDS_MAX: Duration = Duration::from_secs(20);
/// An answer that breaks off is asked for again for so long; where nothing answers, the client has tried longer than that.
const BROKEN_OFF_S: f64 = 10.0;
/// What is larger goes in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// Objects that are read at once.
const READ_AT_ONCE: usize = 16;

/// Which bucket, and who asks.
#[derive(Debug, Clone, Default)]
pub struct BucketSettings {
    pub bucket: String,
    /// `AWS_REGION`, or `us-east-1`, if none is said.
    pub region: Option<String>,
    /// URL of a store other than AWS.
    pub endpoint: Option<String>,
    /// Those of the environment if none are said.
    pub access_key: Option<String>,
    pub secret_key: Option<Secret>,
}

/// A bucket, open. All its requests run on threads of its own, whoever waits for them.
pub struct Bucket {
    name: String,
    /// Tells it from buckets of the same name in other stores, and from the same one with other keys.
    id: String,
    store: Arc<AmazonS3>,
    threads: Threads,
}

/// They end by themselves, wherever the bucket is closed: also where nobody may wait.
struct Threads(Option<Runtime>);

impl Threads {
    fn handle(&self) -> Result<&Handle> {
        self.0.as_ref().map(Runtime::handle).ok_or_else(|| Error::internal("a bucket without threads"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}", self.name)
    }
}

impl Bucket {
    /// [`Kind::Config`]: the settings are none.
    pub fn open(settings: &BucketSettings) -> Result<Bucket> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.doing(|| "starting a runtime".into())?;
        let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
        let client = ClientOptions::new().with_timeout(REQUEST_SECONDS_MAX).with_connect_timeout(Duration::from_secs(5));
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_retry(RetryConfig { backoff, max_retries: 10_000, retry_timeout: PATIENCE })
            .with_http_connector(SpawnedReqwestConnector::new(runtime.handle().clone()))
            .with_client_options(client.with_allow_http(true));
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(access), Some(secret)) = (&settings.access_key, &settings.secret_key) {
            builder = builder.with_access_key_id(access).with_secret_access_key(secret.expose());
        }
        let name = settings.bucket.clone();
        let store = builder.build().map_err(|e| Error::config(format!("`s3://{name}` cannot be used: {e}")))?;
        let whose = format!("{:?}", (&settings.endpoint, &settings.region, &settings.access_key));
        let id = format!("{name}-{:08x}", crc32c::crc32c(whose.as_bytes()));
        Ok(Bucket { name, id, store: Arc::new(store), threads: Threads(Some(runtime)) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, and something of where it is, and who asks.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn store(&self) -> Arc<AmazonS3> {
        self.store.clone()
    }

    /// Waits for a request, also where others must not be kept waiting.
    fn wait<T: Send>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let threads = self.threads.handle()?;
        if Handle::try_current().is_err() {
            return threads.block_on(request);
        }
        let waited = std::thread::scope(|scope| scope.spawn(|| threads.block_on(request)).join());
        waited.unwrap_or_else(|_| Err(Error::internal("waiting for a bucket panicked")))
    }

    /// Asks again where an answer broke off: the client tries requests again, but not what it has begun to read.
    fn persist<T: Send, R: Future<Output = Result<T>> + Send>(&self, request: impl Fn() -> R) -> Result<T> {
        let waited = Stopwatch::start();
        loop {
            match self.wait(request()) {
                Err(e) if e.kind == Kind::Unavailable && waited.seconds() < BROKEN_OFF_S => {
                    std::thread::sleep(Duration::from_millis(100))
                }
                ended => return ended,
            }
        }
    }

    /// All objects below a prefix, those behind a name if one is given.
    pub fn list(&self, prefix: &Key, behind: Option<&Key>) -> Result<Vec<ObjectMeta>> {
        self.persist(|| async {
            let found = match behind {
                Some(behind) => self.store.list_with_offset(Some(prefix), behind),
                None => self.store.list(Some(prefix)),
            };
            found.try_collect().await.map_err(|e| self.failed("listing", prefix, &e))
        })
    }

    /// Names of the folders of a prefix.
    pub fn folders(&self, prefix: &Key) -> Result<Vec<String>> {
        let found = self.persist(|| async {
            let found = self.store.list_with_delimiter(Some(prefix)).await;
            found.map_err(|e| self.failed("listing", prefix, &e))
        });
        Ok(found?.common_prefixes.iter().filter_map(|folder| folder.filename().map(String::from)).collect())
    }

    /// Whether there is any object below a prefix.
    pub fn has_any(&self, prefix: &Key) -> Result<bool> {
        self.persist(|| async {
            let first = self.store.list(Some(prefix)).next().await.transpose();
            first.map(|first| first.is_some()).map_err(|e| self.failed("listing", prefix, &e))
        })
    }

    /// What lies there, each `None` if there is nothing of that name.
    pub fn read_all(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        let read = |key: Key| async move {
            let read = async { self.store.get(&key).await?.bytes().await };
            match read.await {
                Ok(bytes) => Ok(Some(bytes.to_vec())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(self.failed("reading", &key, &e)),
            }
        };
        self.persist(|| futures::stream::iter(keys.to_vec()).map(read).buffered(READ_AT_ONCE).try_collect())
    }

    /// `None`: there is nothing of that name.
    pub fn read(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        Ok(self.read_all(std::slice::from_ref(key))?.pop().flatten())
    }

    /// A stretch of an object. [`Kind::Data`]: there is nothing of that name.
    pub fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.persist(|| async {
            match self.store.get_range(key, range.clone()).await {
                Err(object_store::Error::NotFound { .. }) => Err(Error::new(Kind::Data, format!("`{key}` is gone"))),
                read => read.map_err(|e| self.failed("reading", key, &e)),
            }
        })
    }

    /// Appends an object to a file. False: there is nothing of that name.
    pub fn fetch(&self, key: &Key, to: &mut File) -> Result<bool> {
        self.wait(async {
            let mut parts = match self.store.get(key).await {
                Ok(found) => found.into_stream(),
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(e) => return Err(self.failed("reading", key, &e)),
            };
            while let Some(part) = parts.next().await {
                let part = part.map_err(|e| self.failed("reading", key, &e))?;
                to.write_all(&part).doing(|| format!("writing what `{key}` has"))?;
            }
            Ok(true)
        })
    }

    /// Puts a part of a file under a name.
    pub fn upload(&self, key: &Key, from: &Path, at: u64, bytes: u64) -> Result<()> {
        let reading = || format!("reading `{}`", from.display());
        let mut file = File::open(from).doing(reading)?;
        file.seek(SeekFrom::Start(at)).doing(reading)?;
        let mut rest = file.take(bytes);
        let mut part = |size: u64| -> Result<Vec<u8>> {
            let mut part = Vec::with_capacity(size as usize);
            rest.by_ref().take(size).read_to_end(&mut part).doing(reading)?;
            Ok(part)
        };
        if bytes <= PART_BYTES as u64 {
            return self.put(key, part(bytes)?);
        }
        let failed = |e| self.failed("writing", key, &e);
        self.wait(async {
            let upload = self.store.put_multipart(key).await.map_err(failed)?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            loop {
                let part = part(PART_BYTES as u64)?;
                if part.is_empty() {
                    return writer.finish().await.map(drop).map_err(failed);
                }
                writer.wait_for_capacity(2).await.map_err(failed)?;
                writer.write(&part);
            }
        })
    }

    /// Puts an object in the place of what is there.
    pub fn put(&self, key: &Key, bytes: Vec<u8>) -> Result<()> {
        self.wait(async {
            let put = self.store.put(key, PutPayload::from(bytes)).await;
            put.map(drop).map_err(|e| self.failed("writing", key, &e))
        })
    }

    /// Creates an object. False if there is another of that name.
    pub fn create(&self, key: &Key, bytes: &[u8]) -> Result<bool> {
        let waited = Stopwatch::start();
        loop {
            let payload = PutPayload::from(bytes.to_vec());
            let put = self.wait(async { Ok(self.store.put_opts(key, payload, PutMode::Create.into()).await) });
            let Err(e) = put? else { return Ok(true) };
            match self.read(key)? {
                // It may be there by a try whose answer was lost.
                Some(found) => return Ok(found == bytes),
                // It was there, and was removed since by those who came after.
                None if is_there(&e) => return Ok(false),
                None => {}
            }
            // A request that creates is not tried again by the client when it had no answer in time; that it has created nothing, we have seen.
            let told = self.failed("creating", key, &e);
            if told.kind == Kind::Config || waited.seconds() > PATIENCE.as_secs_f64() {
                return Err(told);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Removes an object; what cannot be removed is in nobody's way.
    pub fn remove(&self, key: &Key) {
        let _ = self.wait(async { self.store.delete(key).await.map_err(|e| self.failed("removing", key, &e)) });
    }

    fn failed(&self, doing: &str, key: &Key, e: &object_store::Error) -> Error {
        let what = with_sources(e);
        let location = format!("s3://{}/{key}", self.name);
        let said = format!("{doing} `{location}`: {what}");
        if what.contains("<Code>NoSuchBucket</Code>") {
            return Error::config(format!("there is no bucket for `{location}`: make it, or name another"));
        }
        if what.contains("403 Forbidden") || what.contains("401 Unauthorized") {
            let keys = "`access_key` and `secret_key`, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`";
            return Error::config(format!("{said}. Are {keys}, those of this store?"));
        }
        Error::unavailable(said)
    }
}

fn is_there(e: &object_store::Error) -> bool {
    matches!(e, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })
        || with_sources(e).contains("412 Precondition Failed")
}

/// What lies under an error says more than the error.
fn with_sources(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut under = e.source();
    while let Some(e) = under {
        let more = e.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        under = e.source();
    }
    text
}
