//! From the bytes somebody uploaded to pictures of our own making. Nothing of an upload is ever stored or served: it is told by
//! its first bytes what it is, bounded before it is decoded, decoded to pixels, and encoded anew. What hides behind or between
//! the pixels (scripts, archives, metadata with the place where a photograph was taken) does not survive that.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    metadata::Orientation,
};

/// What an upload may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of an upload.
    pub bytes: usize,
    /// The most pixels, width times height.
    pub pixels: u64,
    /// The longest side in pixels.
    pub side: u32,
    /// The most memory that decoding may take, in bytes.
    pub memory: u64,
}

impl Default for Limits {
    /// A photograph of a telephone passes (5 MiB, 16 megapixels, 8192 pixels a side); decoding takes at most 96 MiB.
    fn default() -> Self {
        Self { bytes: 5 << 20, pixels: 16_000_000, side: 8192, memory: 96 << 20 }
    }
}

/// The longest side of the picture that is served, in pixels; larger uploads are scaled down.
pub const FULL: u32 = 1600;
/// The longest side of its thumbnail, in pixels.
pub const THUMBNAIL: u32 = 320;
/// The quality of JPEGs, of 100.
const QUALITY: u8 = 82;

/// Why an upload is not a picture that can be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Its first bytes are not those of a PNG, JPEG or WebP.
    #[error("the content is not a PNG, a JPEG or a WebP, whatever it is named or declared to be")]
    Type,
    /// More bytes than the limit, which is the field.
    #[error("the upload has more than {0} bytes")]
    Bytes(usize),
    /// More pixels than the limit.
    #[error("the picture measures {width} x {height} pixels; at most {side} a side and {pixels} in all are taken")]
    Pixels {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The limit of a side.
        side: u32,
        /// The limit of both multiplied.
        pixels: u64,
    },
    /// Decoding it would take more memory than the limit.
    #[error("decoding the picture would take too much memory")]
    Memory,
    /// Something follows the end of the picture.
    #[error("{0} bytes follow the end of the picture")]
    Trailing(usize),
    /// It does not decode.
    #[error("the picture is damaged: {0}")]
    Damaged(String),
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The encoded file.
    pub bytes: Bytes,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

/// What is made of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// How both are encoded.
    pub kind: Kind,
    /// The picture, at most [`FULL`] pixels a side.
    pub full: Picture,
    /// The same, at most [`THUMBNAIL`] pixels a side.
    pub thumbnail: Picture,
}

/// The encodings that are stored and served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For opaque pictures.
    Jpeg,
    /// For pictures with transparency.
    Png,
}

impl Kind {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// The suffix of names in the store.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

/// Tells by the content what an upload is.
///
/// # Errors
/// When it is none of the three formats that are taken.
pub fn sniff(bytes: &[u8]) -> Result<ImageFormat, Refusal> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(ImageFormat::Png),
        [0xFF, 0xD8, 0xFF, ..] => Ok(ImageFormat::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(ImageFormat::WebP),
        _ => Err(Refusal::Type),
    }
}

/// Makes the pictures of an upload. Takes CPU for as long as decoding and scaling take, so not on the thread of the requests.
///
/// # Errors
/// Says why the upload is refused; dimensions are checked before a pixel is decoded.
pub fn prepare(upload: &[u8], limits: Limits) -> Result<Pictures, Refusal> {
    if upload.len() > limits.bytes {
        return Err(Refusal::Bytes(limits.bytes));
    }
    let format = sniff(upload)?;
    refuse_trailing(upload, format)?;
    let mut picture = decode(upload, format, limits)?;
    if picture.width() > FULL || picture.height() > FULL {
        // `thumbnail` averages boxes of pixels: quick, and good enough at any ratio.
        picture = picture.thumbnail(FULL, FULL);
    }
    let kind = if picture.color().has_alpha() { Kind::Png } else { Kind::Jpeg };
    let small = if picture.width() > THUMBNAIL || picture.height() > THUMBNAIL {
        picture.thumbnail(THUMBNAIL, THUMBNAIL)
    } else {
        picture.clone()
    };
    Ok(Pictures { kind, full: encode(&picture, kind)?, thumbnail: encode(&small, kind)? })
}

/// A PNG ends with its IEND chunk and a WebP says its length. (Cameras do append to JPEGs; there the rest is dropped.)
fn refuse_trailing(upload: &[u8], format: ImageFormat) -> Result<(), Refusal> {
    let end = match format {
        ImageFormat::Png => end_of_png(upload),
        ImageFormat::WebP => upload.get(4..8).and_then(|n| n.try_into().ok()).map(|n| {
            let size = usize::try_from(u32::from_le_bytes(n)).unwrap_or(usize::MAX);
            // Chunks are padded to an even length.
            size.saturating_add(8).saturating_add(size % 2)
        }),
        _ => None,
    };
    match end {
        Some(end) if end < upload.len() => Err(Refusal::Trailing(upload.len() - end)),
        _ => Ok(()),
    }
}

/// Where the IEND chunk of a PNG ends; none if there is no such chunk, which decoding will say.
fn end_of_png(upload: &[u8]) -> Option<usize> {
    let mut at = 8_usize;
    loop {
        let head = upload.get(at..at.checked_add(8)?)?;
        let length = usize::try_from(u32::from_be_bytes(head.get(..4)?.try_into().ok()?)).ok()?;
        // Length, type, data, checksum.
        at = at.checked_add(length)?.checked_add(12)?;
        if head.get(4..8)? == b"IEND" {
            return Some(at);
        }
    }
}

fn decode(upload: &[u8], format: ImageFormat, limits: Limits) -> Result<DynamicImage, Refusal> {
    let mut reader = ImageReader::with_format(Cursor::new(upload), format);
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits.side);
    bounds.max_image_height = Some(limits.side);
    bounds.max_alloc = Some(limits.memory);
    // The decoder checks sides by itself, but then says nothing of the numbers.
    let (width, height) = {
        let mut reader = ImageReader::with_format(Cursor::new(upload), format);
        let mut memory = image::Limits::no_limits();
        memory.max_alloc = Some(limits.memory);
        reader.limits(memory);
        reader.into_dimensions().map_err(refused)?
    };
    if width > limits.side || height > limits.side || u64::from(width) * u64::from(height) > limits.pixels {
        return Err(Refusal::Pixels { width, height, side: limits.side, pixels: limits.pixels });
    }
    reader.limits(bounds.clone());
    let mut decoder = reader.into_decoder().map_err(refused)?;
    if decoder.total_bytes() > limits.memory {
        return Err(Refusal::Memory);
    }
    // The orientation is in the metadata, which are not kept: so it is applied.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    picture.apply_orientation(orientation);
    // Eight bits a channel: the other depths exist for work on pictures, not for looking at them.
    Ok(if picture.color().has_alpha() { picture.into_rgba8().into() } else { picture.into_rgb8().into() })
}

fn encode(picture: &DynamicImage, kind: Kind) -> Result<Picture, Refusal> {
    let (width, height) = (picture.width(), picture.height());
    let mut out = Vec::new();
    match kind {
        Kind::Jpeg => JpegEncoder::new_with_quality(&mut out, QUALITY).encode_image(&picture.to_rgb8()),
        Kind::Png => {
            PngEncoder::new(&mut out).write_image(&picture.to_rgba8(), width, height, ExtendedColorType::Rgba8)
        }
    }
    .map_err(refused)?;
    Ok(Picture { bytes: out.into(), width, height })
}

fn refused(error: ImageError) -> Refusal {
    match error {
        ImageError::Limits(_) => Refusal::Memory,
        error => Refusal::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 7]));
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, ImageFormat::Png).unwrap();
        out.into_inner()
    }

    /// A PNG that says it measures so many pixels and has next to none.
    fn bomb(width: u32, height: u32) -> Vec<u8> {
        let mut file = png(1, 1);
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc(&file[12..29]);
        file[29..33].copy_from_slice(&checksum.to_be_bytes());
        file
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 * (sum & 1)))
        })
    }

    #[test]
    fn a_large_photograph_becomes_a_smaller_one_and_a_thumbnail() {
        let made = prepare(&png(2000, 1000), Limits::default()).unwrap();
        assert_eq!(made.kind, Kind::Jpeg);
        assert_eq!((made.full.width, made.full.height), (1600, 800));
        assert_eq!((made.thumbnail.width, made.thumbnail.height), (320, 160));
        assert_eq!(sniff(&made.full.bytes), Ok(ImageFormat::Jpeg));
    }

    #[test]
    fn transparency_is_kept() {
        let mut out = Cursor::new(Vec::new());
        RgbaImage::from_pixel(4, 4, Rgba([1, 2, 3, 4])).write_to(&mut out, ImageFormat::Png).unwrap();
        let made = prepare(&out.into_inner(), Limits::default()).unwrap();
        assert_eq!(made.kind, Kind::Png);
        let back = image::load_from_memory(&made.full.bytes).unwrap().into_rgba8();
        assert_eq!(back.get_pixel(0, 0), &Rgba([1, 2, 3, 4]));
    }

    #[test]
    fn webp_is_taken() {
        let mut out = Cursor::new(Vec::new());
        RgbImage::from_pixel(9, 9, Rgb([9, 9, 9])).write_to(&mut out, ImageFormat::WebP).unwrap();
        assert!(prepare(&out.into_inner(), Limits::default()).is_ok());
    }

    #[test]
    fn bombs_are_refused_by_their_measures() {
        for (width, height) in [(60_000, 60_000), (8000, 8000), (8193, 1), (u32::MAX, u32::MAX)] {
            let refusal = prepare(&bomb(width, height), Limits::default()).unwrap_err();
            assert!(!matches!(refusal, Refusal::Type | Refusal::Trailing(_)), "{width}x{height}: {refusal:?}");
        }
        assert!(matches!(prepare(&bomb(8000, 8000), Limits::default()), Err(Refusal::Pixels { width: 8000, .. })));
    }

    #[test]
    fn what_is_not_a_picture_is_refused_whatever_it_is_called() {
        for content in
            [&b"<svg onload=alert(1)>"[..], b"GIF89a\x01\x00", b"<!DOCTYPE html>", b"PK\x03\x04", b"", b"\x89PN"]
        {
            assert_eq!(prepare(content, Limits::default()), Err(Refusal::Type));
        }
    }

    #[test]
    fn a_picture_with_an_archive_behind_it_is_refused() {
        let mut file = png(2, 2);
        file.extend_from_slice(b"PK\x03\x04 evil");
        assert_eq!(prepare(&file, Limits::default()), Err(Refusal::Trailing(9)));
    }

    #[test]
    fn what_hides_in_a_jpeg_is_not_kept() {
        let made = prepare(&png(64, 64), Limits::default()).unwrap();
        let mut file = made.full.bytes.to_vec();
        // A comment segment behind the first marker, and a tail.
        file.splice(2..2, *b"\xFF\xFE\x00\x1B<script>alert(1)</script>");
        file.extend_from_slice(b"<?php system($_GET[0]); ?>");
        let again = prepare(&file, Limits::default()).unwrap();
        for hidden in [&b"<script>"[..], b"<?php"] {
            assert!(!again.full.bytes.windows(hidden.len()).any(|w| w == hidden));
            assert!(!again.thumbnail.bytes.windows(hidden.len()).any(|w| w == hidden));
        }
    }

    #[test]
    fn cut_files_are_damaged_and_long_ones_too_long() {
        let whole = png(64, 64);
        assert!(matches!(prepare(&whole[..whole.len() / 2], Limits::default()), Err(Refusal::Damaged(_))));
        let limits = Limits { bytes: 10, ..Limits::default() };
        assert_eq!(prepare(&whole, limits), Err(Refusal::Bytes(10)));
    }

    #[test]
    fn no_mutilation_of_a_picture_panics() {
        let whole = png(16, 16);
        for at in 8..whole.len() {
            for byte in [0, 0x7F, 0xFF] {
                let mut file = whole.clone();
                file[at] = byte;
                let _ = prepare(&file, Limits::default());
            }
        }
    }
}
