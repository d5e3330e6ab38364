//! The playground's files, embedded when the build found them (`SKYLARK_WWW`, see `build.rs`).

/// One file of the page.
#[derive(Debug)]
pub struct File {
    /// Its path, with a leading `/`.
    pub path: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// Its entity tag, in quotes.
    pub etag: &'static str,
    /// Its name contains a hash of its content, so it never changes.
    pub hashed: bool,
    /// Its content.
    pub bytes: &'static [u8],
}

/// What is served when there is no page in this program.
pub const MISSING: &str = "Skylark serves here, but this program was built without the playground; `cargo xtask play` builds it with the page.";

include!(concat!(env!("OUT_DIR"), "/www.rs"));

/// The file at `path`.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}
