//! From a file to a card on the contact sheet. Nothing here knows where any part runs.

use std::error::Error;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use cofferdam::client::CallError;
use cofferdam::{Runtime, edge};
use indicatif::{ProgressBar, ProgressStyle};

use crate::meter::Meter;

/// Most pixels of a picture.
const PIXELS_MOST: u32 = 20_000_000;
/// Most bytes of a file.
const FILE_BYTES_MOST: u32 = 16 << 20;
/// The box that a thumbnail fits into, pixels.
const THUMBNAIL: (u32, u32) = (200, 150);
/// A thumbnail with its text, pixels.
pub(crate) const CARD: (u32, u32) = (216, 190);

/// Pixels in rows, three bytes each.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Vec<u8>,
}

/// What became of one file.
pub(crate) enum Outcome {
    /// It is on the contact sheet.
    Card {
        /// The file's name, as it is: what is shown of two names can be the same.
        name: OsString,
        /// The thumbnail with its text.
        picture: Picture,
    },
    /// It is not.
    Failed {
        /// The file's name, as it is shown.
        name: String,
        /// Why.
        why: String,
    },
}

impl Outcome {
    pub(crate) fn card(&self) -> Option<&Picture> {
        match self {
            Self::Card { picture, .. } => Some(picture),
            Self::Failed { .. } => None,
        }
    }
}

/// The files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let is_picture = |path: &PathBuf| {
        let ending =
            path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        ["jpg", "jpeg", "png", "webp"].contains(&ending.as_str())
    };
    files.retain(is_picture);
    files.sort();
    Ok(files)
}

/// The bytes of a file, or of what a link leads to. Reading anything else could wait for ever, as for a pipe that nobody writes to.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?.file_type();
    if kind.is_dir() {
        return Err("skipped, because it is a folder".to_owned());
    }
    if !kind.is_file() {
        return Err("skipped, because it is no regular file".to_owned());
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

type Decode<'p> = Box<dyn Fn(&[u8]) -> Result<Result<Picture, String>, CallError> + 'p>;

/// A client of every part, each over its own edge.
pub(crate) struct Parts<'p> {
    meter: &'p Meter,
    jpeg: Decode<'p>,
    png: Decode<'p>,
    webp: Decode<'p>,
    scaler: resize::scaler::Scaler,
    captions: caption::captions::Captions,
    fields: exif_read::fields::Fields,
    download: image_fetch::download::Download,
}

/// A decoder's client as a function. The types of each crate are its own.
macro_rules! decoder {
    ($runtime:expr, $meter:expr, $krate:ident, $name:literal) => {{
        let decoder = $krate::Decode::open($runtime.edge(edge!($name))?)?.decoder();
        let decode = move |file: &[u8]| {
            let call = || decoder.decode(file, PIXELS_MOST);
            let bytes = |result: &Result<Result<$krate::types::Picture, String>, CallError>| match result {
                Ok(Ok(picture)) => picture.pixels.len(),
                _ => 0,
            };
            let $krate::types::Picture { width, height, pixels } =
                match $meter.call($name, file.len(), call, bytes)? {
                    Ok(picture) => picture,
                    Err(why) => return Ok(Err(why)),
                };
            Ok(Ok(Picture { width, height, pixels }))
        };
        Box::new(decode)
    }};
}

impl<'p> Parts<'p> {
    /// Opens all of them.
    pub(crate) fn open(runtime: &Runtime, meter: &'p Meter, evil: bool) -> Result<Self, Box<dyn Error>> {
        let png: Decode<'p> = if evil {
            decoder!(runtime, meter, evil_decode, "evil-decode")
        } else {
            decoder!(runtime, meter, png_decode, "png-decode")
        };
        Ok(Self {
            meter,
            jpeg: decoder!(runtime, meter, jpeg_decode, "jpeg-decode"),
            png,
            webp: decoder!(runtime, meter, webp_decode, "webp-decode"),
            scaler: resize::Resize::open(runtime.edge(edge!("resize"))?)?.scaler(),
            captions: caption::Caption::open(runtime.edge(edge!("caption"))?)?.captions(),
            fields: exif_read::Exif::open(runtime.edge(edge!("exif-read"))?)?.fields(),
            download: image_fetch::Fetch::open(runtime.edge(edge!("image-fetch"))?)?.download(),
        })
    }

    /// Makes a card of every file and address. A picture that fails is an outcome like any other.
    pub(crate) fn all(&self, files: &[PathBuf], addresses: &[String]) -> Vec<Outcome> {
        let bar = progress(files.len() + addresses.len());
        let mut outcomes = Vec::with_capacity(files.len() + addresses.len());
        for path in files {
            let name = path.file_name().unwrap_or_default().to_owned();
            let shown = name.to_string_lossy().into_owned();
            bar.set_message(shown.clone());
            outcomes.push(match read(path) {
                Ok(file) => self.outcome(name, shown, &file),
                Err(why) => Outcome::Failed { name: shown, why },
            });
            bar.inc(1);
        }
        for address in addresses {
            let name = address.rsplit('/').next().unwrap_or_default().to_owned();
            bar.set_message(address.clone());
            let call = || self.download.get(address, FILE_BYTES_MOST);
            let got = self.meter.call("image-fetch", address.len(), call, |got| match got {
                Ok(Ok(bytes)) => bytes.len(),
                _ => 0,
            });
            outcomes.push(match got {
                Ok(Ok(file)) => self.outcome(OsString::from(&name), name, &file),
                Ok(Err(why)) => Outcome::Failed { name, why },
                Err(error) => Outcome::Failed { name, why: error.to_string() },
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        outcomes
    }

    fn outcome(&self, name: OsString, shown: String, file: &[u8]) -> Outcome {
        match self.card(&shown, file) {
            Ok(picture) => Outcome::Card { name, picture },
            Err(why) => Outcome::Failed { name: shown, why },
        }
    }

    fn card(&self, name: &str, file: &[u8]) -> Result<Picture, String> {
        let (format, decode) = match file {
            [0xff, 0xd8, ..] => ("JPEG", &self.jpeg),
            [0x89, b'P', b'N', b'G', ..] => ("PNG", &self.png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("WebP", &self.webp),
            _ => return Err("no format that is known".to_owned()),
        };
        let picture = decode(file).map_err(|error| error.to_string())??;
        let (width, height) = (picture.width, picture.height);
        let small = self.fit(picture)?;
        // A picture without readable fields is a picture.
        let fields = self.read(file).unwrap_or_default();
        let of =
            |wanted: &str| fields.iter().find(|field| field.name == wanted).map(|field| field.value.clone());
        let lines = [of("title").unwrap_or_else(|| name.to_owned()), format!("{width} x {height} {format}")];
        self.caption(small, &lines)
    }

    fn fit(&self, picture: Picture) -> Result<Picture, String> {
        let Picture { width, height, pixels } = picture;
        let picture = resize::types::Picture { width, height, pixels };
        let call = || self.scaler.fit(&picture, THUMBNAIL.0, THUMBNAIL.1);
        let fitted = self.meter.call("resize", picture.pixels.len(), call, |fitted| match fitted {
            Ok(Ok(picture)) => picture.pixels.len(),
            _ => 0,
        });
        let resize::types::Picture { width, height, pixels } =
            fitted.map_err(|error| error.to_string())??;
        Ok(Picture { width, height, pixels })
    }

    fn read(&self, file: &[u8]) -> Result<Vec<exif_read::fields::Field>, String> {
        let read = self.meter.call(
            "exif-read",
            file.len(),
            || self.fields.read(file),
            |read| match read {
                Ok(Ok(fields)) => fields.iter().map(|field| field.name.len() + field.value.len()).sum(),
                _ => 0,
            },
        );
        read.map_err(|error| error.to_string())?
    }

    fn caption(&self, picture: Picture, lines: &[String]) -> Result<Picture, String> {
        let Picture { width, height, pixels } = picture;
        let picture = caption::types::Picture { width, height, pixels };
        let call = || self.captions.write(&picture, CARD.0, CARD.1, lines);
        let written = self.meter.call("caption", picture.pixels.len(), call, |written| match written {
            Ok(Ok(picture)) => picture.pixels.len(),
            _ => 0,
        });
        let caption::types::Picture { width, height, pixels } =
            written.map_err(|error| error.to_string())??;
        Ok(Picture { width, height, pixels })
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg}");
    let bar = ProgressBar::new(count as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
