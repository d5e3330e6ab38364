//! Embeds the playground: the folder that `SKYLARK_WWW` names, or nothing when it is not set.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=SKYLARK_WWW");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if let Some(folder) = env::var_os("SKYLARK_WWW").filter(|v| !v.is_empty()) {
        let folder = PathBuf::from(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &mut files)?;
        if !files.iter().any(|file| file.ends_with("index.html")) {
            return Err(io::Error::other(format!(
                "SKYLARK_WWW names {}, which has no index.html; build the page first or unset the variable",
                folder.display()
            )));
        }
        files.sort();
        write(&folder, &files)
    } else {
        write(Path::new(""), &files)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn write(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    let mut out = String::from("/// The files, by path.\nstatic FILES: &[File] = &[\n");
    for file in files {
        println!("cargo::rerun-if-changed={}", file.display());
        let inside = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let mut hasher = DefaultHasher::new();
        fs::read(file)?.hash(&mut hasher);
        writeln!(
            out,
            "File {{ path: {:?}, kind: {:?}, etag: {:?}, hashed: {}, bytes: include_bytes!({:?}) }},",
            format!("/{inside}"),
            kind(&inside),
            format!("\"{:016x}\"", hasher.finish()),
            inside.starts_with("assets/"),
            fs::canonicalize(file)?.to_string_lossy(),
        )
        .map_err(io::Error::other)?;
    }
    out.push_str("];\n");
    let target = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&target).join("www.rs"), out)
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ext)| ext) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
