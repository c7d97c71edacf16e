//! The command line.

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::PathBuf;

/// The minimum part size of S3, except for the last part.
const MIN_PART_SIZE: u64 = 5 << 20;

/// Records into FILE and uploads it to object storage while it grows; once the server's checksum is right, FILE is
/// deleted.
#[derive(Debug, Parser)]
#[command(
    name = "mediarecorder-upload",
    after_help = "Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the like; AWS_REGION names the \
                  region.\nBeside FILE, a journal (FILE.upload) remembers what has been sent. --resume goes on from it."
)]
pub struct Args {
    /// The S3 server [default: Amazon's]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,

    /// Stop recording after N seconds [default: at Ctrl-C or SIGTERM]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: Option<u32>,

    /// Bytes of each piece of the upload but the last
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20,
        value_parser = clap::value_parser!(u64).range(MIN_PART_SIZE..=5 << 30))]
    pub part_size: u64,

    /// Record nothing: finish the upload of FILE, from its journal
    #[arg(long, conflicts_with_all = ["seconds", "test", "part_size"])]
    pub resume: bool,

    /// Record test sources instead of the default camera and microphone
    #[arg(long)]
    pub test: bool,

    /// Destination of the recording, as s3://bucket/key
    #[arg(value_name = "s3://BUCKET/KEY")]
    pub destination: Destination,

    /// The local copy; its extension selects the container: mkv, webm or mp4
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// A bucket, and the object's key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub bucket: String,
    pub key: String,
}

impl std::str::FromStr for Destination {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text
            .strip_prefix("s3://")
            .with_context(|| format!("{text} is no s3://bucket/key"))?;
        match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Destination {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            _ => bail!("{text} has no bucket or no key: use s3://bucket/key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn destinations_name_a_bucket_and_a_key() {
        let destination: Destination = "s3://bucket/a/b.webm".parse().expect("a good one");
        assert_eq!(destination.bucket, "bucket");
        assert_eq!(destination.key, "a/b.webm");
        for wrong in ["bucket/key", "s3://bucket", "s3://bucket/", "s3:///key", ""] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong} was taken");
        }
    }
}
