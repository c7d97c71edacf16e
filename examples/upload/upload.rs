//! The upload: pieces in the order in which they become final, the first one last.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use md5::{Digest, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, PutPayload, RetryConfig};

use crate::args::Args;
use crate::journal::{Journal, Piece};
use crate::progress::Progress;

/// The maximum part number of S3.
const MAX_PIECES: usize = 10_000;
/// How long a failing request is retried; `--resume` continues later.
const PATIENCE: Duration = Duration::from_secs(600);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(15);

/// The destination of the object.
pub struct Server {
    store: AmazonS3,
    key: Path,
    progress: Arc<Progress>,
}

impl Server {
    pub fn new(args: &Args, progress: Arc<Progress>) -> Result<Self> {
        // Every request is retried here, where the progress line can show it.
        let retry = RetryConfig {
            max_retries: 0,
            retry_timeout: Duration::ZERO,
            backoff: BackoffConfig::default(),
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&args.destination.bucket)
            .with_retry(retry)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(true)
                    .with_timeout(Duration::from_secs(300))
                    .with_connect_timeout(Duration::from_secs(10)),
            );
        if let Some(endpoint) = &args.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Server {
            store: builder.build()?,
            key: Path::parse(&args.destination.key)?,
            progress,
        })
    }

    /// Starts an upload.
    pub async fn begin(&self) -> Result<String> {
        let begin = || self.store.create_multipart(&self.key);
        let begun = again(&self.progress, begin).await;
        begun.context("the upload cannot be begun")
    }

    /// Whether the object exists, and consists of these pieces.
    pub async fn has(&self, journal: &Journal) -> Result<bool> {
        let head = || self.store.head(&self.key);
        let head = match again(&self.progress, head).await {
            Ok(head) => head,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error).context("the object cannot be queried"),
        };
        let size: u64 = journal.pieces.values().map(|piece| piece.size).sum();
        let etag = head.e_tag.as_deref().map(unquoted);
        Ok(!journal.pieces.is_empty()
            && head.size == size
            && etag == Some(object_checksum(journal)?.as_str()))
    }
}

/// One file being uploaded.
pub struct Upload {
    server: Server,
    file: File,
    journal: Journal,
}

impl Upload {
    pub fn new(server: Server, file: File, journal: Journal) -> Self {
        Upload {
            server,
            file,
            journal,
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// The current size of the file.
    pub fn length(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub fn into_journal(self) -> Journal {
        self.journal
    }

    /// Pieces that have changed in the file since they were sent (after a power cut, for example) are sent again.
    pub fn forget_what_differs(&mut self) -> Result<()> {
        let size = self.length()?;
        let kept = std::mem::take(&mut self.journal.pieces);
        let part_size = self.journal.part_size;
        for (index, piece) in kept {
            let start = index as u64 * part_size;
            let is_whole = piece.size == part_size.min(size.saturating_sub(start));
            if is_whole && hexadecimal(&Md5::digest(self.read(index)?)) == piece.md5 {
                self.journal.pieces.insert(index, piece);
            }
        }
        self.tell();
        Ok(())
    }

    /// Sends all pieces except the first that end before `end`.
    pub async fn send_until(&mut self, end: u64) -> Result<()> {
        let pieces = (end / self.journal.part_size) as usize;
        for index in 1..pieces {
            self.send(index).await?;
        }
        Ok(())
    }

    /// The file is complete: sends the rest of it, and completes the upload.
    pub async fn finish(&mut self) -> Result<()> {
        let size = self.length()?;
        if size == 0 {
            bail!("nothing was recorded");
        }
        let pieces = size.div_ceil(self.journal.part_size) as usize;
        if let Err(error) = self.send_all(pieces).await {
            // Servers keep incomplete uploads for a long time.
            if !matches!(error.downcast_ref(), Some(Error::NotFound { .. })) {
                return Err(error);
            }
            self.journal.restart(self.server.begin().await?)?;
            self.send_all(pieces).await?;
        }
        self.complete().await
    }

    async fn send_all(&mut self, pieces: usize) -> Result<()> {
        for index in (1..pieces).chain([0]) {
            self.send(index).await?;
        }
        Ok(())
    }

    /// Sends a piece that the server does not have yet.
    async fn send(&mut self, index: usize) -> Result<()> {
        if self.journal.pieces.contains_key(&index) {
            return Ok(());
        }
        if index >= MAX_PIECES {
            bail!("S3 accepts {MAX_PIECES} parts: record with a larger --part-size");
        }
        let bytes = self.read(index)?;
        let md5 = hexadecimal(&Md5::digest(&bytes));
        let bytes = PutPayload::from(bytes);
        let Server {
            store,
            key,
            progress,
        } = &self.server;
        let put = || store.put_part(key, &self.journal.id, index, bytes.clone());
        let sent = again(progress, put).await;
        let etag = sent.with_context(|| format!("piece {index} cannot be uploaded"))?;
        let etag = unquoted(&etag.content_id).to_owned();
        if etag.len() == md5.len() && etag != md5 {
            bail!(
                "piece {index} has reached the server changed: its checksum is {etag}, not {md5}"
            );
        }
        self.journal.add(Piece {
            index,
            size: bytes.content_length() as u64,
            md5,
            etag,
        })?;
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let pieces = self.journal.pieces.values();
        self.server
            .progress
            .set_sent(pieces.map(|piece| piece.size).sum());
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let start = index as u64 * self.journal.part_size;
        let size = self.length()?.saturating_sub(start);
        let mut bytes = vec![0; self.journal.part_size.min(size) as usize];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Only the server's checksum of the whole object proves that it has all of it.
    async fn complete(&mut self) -> Result<()> {
        let parts: Vec<_> = self.journal.pieces.values().map(part_id).collect();
        let Server {
            store,
            key,
            progress,
        } = &self.server;
        let id = &self.journal.id;
        let complete = || store.complete_multipart(key, id, parts.clone());
        let completed = again(progress, complete).await;
        // The response to an earlier request may have been lost: the object decides.
        if self.server.has(&self.journal).await? {
            return Ok(());
        }
        completed.context("the upload cannot be completed")?;
        bail!(
            "the server's checksum of the object is not that of the file (or no MD5: with encryption by KMS it is none)"
        );
    }
}

/// Retries a request until it succeeds, or fails permanently.
async fn again<T, F>(progress: &Progress, request: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let begun = Instant::now();
    let mut back_off = FIRST_BACK_OFF;
    loop {
        match request().await {
            Err(Error::Generic { .. }) if begun.elapsed() < PATIENCE => {
                progress.add_retry();
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(LONGEST_BACK_OFF);
            }
            done => return done,
        }
    }
}

fn part_id(piece: &Piece) -> PartId {
    PartId {
        content_id: format!("\"{}\"", piece.etag),
    }
}

/// S3's ETag of a multipart object: the MD5 of the parts' MD5s, and their number.
fn object_checksum(journal: &Journal) -> Result<String> {
    let mut all = Md5::new();
    for piece in journal.pieces.values() {
        all.update(bytes_of(&piece.md5).context("the journal is damaged")?);
    }
    let count = journal.pieces.len();
    Ok(format!("{}-{count}", hexadecimal(&all.finalize())))
}

fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect()
}
