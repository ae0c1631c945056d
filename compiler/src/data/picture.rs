//! Pictures (png, jpeg) as `[channels, height, width]` of numbers.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Limits, Pixel, Rgba, RgbaImage};

use super::file::{self, damaged};
use crate::error::Error;

/// Bytes of a picture's file, and of the decoded picture.
const MAX_FILE: u64 = 256 << 20;
const MAX_DECODED: u64 = 1 << 30;
/// Pixels of the picture that a network takes.
const MAX_PIXELS: usize = 1 << 27;

/// What is done to a picture: resized, perhaps inverted, scaled to [0, 1], then `(x - mean) / deviation`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preparation {
    /// What is done with a picture of another size.
    pub resize: Resize,
    /// Light becomes dark: for a network that learned light digits on black, and dark ones on paper.
    pub invert: bool,
    /// One for each channel, one for all, or none for 0.
    pub mean: Vec<f32>,
    /// One for each channel, one for all, or none for 1.
    pub deviation: Vec<f32>,
}

/// How a picture of another form is brought to the input's height and width.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resize {
    /// All of it, out of proportion if need be.
    #[default]
    Stretch,
    /// The largest part of it in the middle that has the form.
    Crop,
    /// All of it in proportion, with black (white, when inverted) around it.
    Pad,
}

impl Preparation {
    /// The number that stands for each byte of a channel.
    pub(super) fn table(&self, channel: usize) -> [f32; 256] {
        let of = |values: &[f32], default: f32| match values {
            [] => default,
            [one] => *one,
            many => many[channel],
        };
        let (mean, deviation) = (of(&self.mean, 0.0), of(&self.deviation, 1.0));
        std::array::from_fn(|byte| {
            let byte = if self.invert { 255 - byte } else { byte };
            (byte as f32 / 255.0 - mean) / deviation
        })
    }

    /// Whether there is a mean and deviation for each channel.
    ///
    /// # Errors
    /// When there is another number of them, or a deviation is not positive.
    pub fn check(&self, channels: usize) -> Result<(), Error> {
        for (what, values) in [("means", &self.mean), ("deviations", &self.deviation)] {
            if !matches!(values.len(), 0 | 1) && values.len() != channels {
                let n = values.len();
                return Err(Error::Input(format!(
                    "there are {n} {what} for {channels} channels: give one, or one for each"
                )));
            }
        }
        match self.deviation.iter().find(|value| !value.is_finite() || **value <= 0.0) {
            Some(value) => Err(Error::Input(format!("a deviation is a positive number, not {value}"))),
            None => Ok(()),
        }
    }
}

/// Reads a picture as `[channels, height, width]`; 1 channel is grey, 3 are red, green and blue.
/// What is transparent lies on white.
pub(super) fn read_picture(
    path: &Path,
    [channels, height, width]: [usize; 3],
    preparation: &Preparation,
) -> Result<Vec<f32>, Error> {
    if !matches!(channels, 1 | 3) {
        let message = format!("a picture has 1 or 3 channels, but the input takes {channels}");
        return Err(damaged(path, message));
    }
    preparation.check(channels)?;
    let (h, w) = target_size(path, height, width)?;
    let picture = decode(path)?;
    let picture = if picture.color().has_alpha() {
        let mut paper = RgbaImage::from_pixel(picture.width(), picture.height(), Rgba([255; 4]));
        imageops::overlay(&mut paper, &picture.to_rgba8(), 0, 0);
        DynamicImage::ImageRgba8(paper)
    } else {
        picture
    };
    let bytes = if channels == 1 {
        resize(&picture.into_luma8(), h, w, preparation).into_raw()
    } else {
        resize(&picture.into_rgb8(), h, w, preparation).into_raw()
    };
    let mut values = Vec::with_capacity(bytes.len());
    for channel in 0..channels {
        let table = preparation.table(channel);
        values.extend(bytes.iter().skip(channel).step_by(channels).map(|byte| table[usize::from(*byte)]));
    }
    Ok(values)
}

/// Resizes one grey picture of bytes, as [`read_picture`] does.
pub(super) fn resize_grey(
    bytes: &[u8],
    from: [usize; 2],
    to: [usize; 2],
    preparation: &Preparation,
) -> Option<Vec<u8>> {
    let size = |n: usize| u32::try_from(n).ok();
    let picture: Picture<image::Luma<u8>> = Picture::from_raw(size(from[1])?, size(from[0])?, bytes.to_vec())?;
    Some(resize(&picture, size(to[0])?, size(to[1])?, preparation).into_raw())
}

pub(super) fn target_size(path: &Path, height: usize, width: usize) -> Result<(u32, u32), Error> {
    let is_fit = height > 0 && width > 0 && height.checked_mul(width).is_some_and(|n| n <= MAX_PIXELS);
    match (u32::try_from(height), u32::try_from(width)) {
        (Ok(h), Ok(w)) if is_fit => Ok((h, w)),
        _ => Err(damaged(path, format!("pictures are not resized to {height} x {width} pixels"))),
    }
}

fn decode(path: &Path) -> Result<DynamicImage, Error> {
    let bytes = file::read(path, MAX_FILE)?;
    let broken = |error: &dyn std::fmt::Display| damaged(path, format!("is no picture that can be read: {error}"));
    if bytes.starts_with(b"\xff\xd8") && !ends_as_jpeg(&bytes) {
        return Err(damaged(path, "ends in the middle of the picture"));
    }
    let mut reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(|error| broken(&error))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    let pixels = u64::from(decoder.dimensions().0) * u64::from(decoder.dimensions().1);
    if pixels == 0 || decoder.total_bytes() > MAX_DECODED || pixels.saturating_mul(4) > MAX_DECODED {
        let (width, height) = decoder.dimensions();
        return Err(damaged(
            path,
            format!("is a picture of {width} x {height} pixels, too large or too small to be read"),
        ));
    }
    // A picture without the entry lies as it should.
    let orientation = decoder.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
    if let Ok(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

/// Whether the last scan of a JPEG is followed by the end of the image: decoders make up what is missing.
fn ends_as_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    match (last(0xda), last(0xd9)) {
        (Some(scan), Some(end)) => scan < end,
        (_, end) => end.is_some(),
    }
}

type Picture<P> = ImageBuffer<P, Vec<u8>>;

fn resize<P>(picture: &Picture<P>, h: u32, w: u32, preparation: &Preparation) -> Picture<P>
where
    P: Pixel<Subpixel = u8> + 'static,
{
    let (from_w, from_h) = picture.dimensions();
    // A triangle as wide as the step: bilinear when enlarging, without aliasing when reducing.
    let scale = |x: u32, y: u32, w: u32, h: u32, to_w, to_h| {
        let part = imageops::crop_imm(picture, x, y, w, h).to_image();
        if (w, h) == (to_w, to_h) { part } else { imageops::resize(&part, to_w, to_h, FilterType::Triangle) }
    };
    // The sides of the largest rectangle of the form `a : b` within `c` x `d`.
    let within = |a: u32, b: u32, c: u32, d: u32| {
        let [a, b, c, d] = [a, b, c, d].map(u64::from);
        let (p, q) = if a * d > b * c { (c, (b * c + a / 2) / a) } else { ((a * d + b / 2) / b, d) };
        (p.clamp(1, c) as u32, q.clamp(1, d) as u32)
    };
    match preparation.resize {
        Resize::Stretch => scale(0, 0, from_w, from_h, w, h),
        Resize::Crop => {
            let (part_w, part_h) = within(w, h, from_w, from_h);
            scale((from_w - part_w) / 2, (from_h - part_h) / 2, part_w, part_h, w, h)
        }
        Resize::Pad => {
            let (part_w, part_h) = within(from_w, from_h, w, h);
            let part = scale(0, 0, from_w, from_h, part_w, part_h);
            let ground = if preparation.invert { 255 } else { 0 };
            let mut whole = Picture::from_pixel(w, h, *P::from_slice(&[ground; 4][..usize::from(P::CHANNEL_COUNT)]));
            imageops::replace(&mut whole, &part, i64::from((w - part_w) / 2), i64::from((h - part_h) / 2));
            whole
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use image::{GrayImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};

    use super::{Preparation, Resize, read_picture};

    fn file(dir: &tempfile::TempDir, picture: impl Into<image::DynamicImage>) -> PathBuf {
        let path = dir.path().join("a.png");
        picture.into().save(&path).unwrap();
        path
    }

    fn read(path: &Path, shape: [usize; 3], preparation: &Preparation) -> Vec<f32> {
        read_picture(path, shape, preparation).unwrap()
    }

    #[test]
    fn channels_come_first_and_are_normalized() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, RgbImage::from_fn(2, 1, |x, _| Rgb([255 * (x as u8), 51, 0])));
        assert_eq!(read(&path, [3, 1, 2], &Preparation::default()), [0.0, 1.0, 0.2, 0.2, 0.0, 0.0]);
        let preparation =
            Preparation { mean: vec![0.5, 0.0, 1.0], deviation: vec![0.5], invert: true, ..Preparation::default() };
        assert_eq!(read(&path, [3, 1, 2], &preparation), [1.0, -1.0, 1.6, 1.6, 0.0, 0.0]);
        let two = Preparation { mean: vec![0.0, 1.0], ..Preparation::default() };
        let error = read_picture(&path, [3, 1, 2], &two).unwrap_err().to_string();
        assert_eq!(error, "there are 2 means for 3 channels: give one, or one for each");
        assert!(Preparation { deviation: vec![0.0], ..Preparation::default() }.check(1).is_err());
    }

    #[test]
    fn what_is_transparent_is_white() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, RgbaImage::from_fn(2, 1, |x, _| Rgba([0, 0, 0, 255 * (x as u8)])));
        assert_eq!(read(&path, [1, 1, 2], &Preparation::default()), [1.0, 0.0]);
    }

    #[test]
    fn sizes_are_brought_to_the_inputs() {
        let dir = tempfile::tempdir().unwrap();
        // The middle of a wide picture is white.
        let path = file(&dir, GrayImage::from_fn(12, 4, |x, _| Luma([if (4..8).contains(&x) { 255 } else { 0 }])));
        let resized = |resize| read(&path, [1, 4, 4], &Preparation { resize, ..Preparation::default() });
        assert_eq!(resized(Resize::Crop), [1.0; 16]);
        let rows = resized(Resize::Pad);
        assert_eq!((&rows[..4], &rows[12..]), (&[0.0; 4][..], &[0.0; 4][..]));
        assert!(rows[5] > 0.5 && rows[4] < 0.5);
        let stretched = resized(Resize::Stretch);
        assert_eq!(stretched[..4], stretched[12..]);
        assert!(stretched[1] > 0.5 && stretched[0] < 0.5);
        // The thinnest pictures and inputs.
        for (w, h) in [(1, 500), (500, 1), (1, 1)] {
            let path = file(&dir, GrayImage::new(w, h));
            for (to_h, to_w) in [(1, 700), (700, 1), (3, 3)] {
                for resize in [Resize::Crop, Resize::Pad, Resize::Stretch] {
                    let preparation = Preparation { resize, ..Preparation::default() };
                    assert_eq!(read(&path, [1, to_h, to_w], &preparation).len(), to_h * to_w);
                }
            }
        }
    }

    #[test]
    fn a_cut_jpeg_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8 * 4, y as u8 * 4, 9])).save(&path).unwrap();
        read(&path, [3, 8, 8], &Preparation::default());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - bytes.len() / 4]).unwrap();
        let error = read_picture(&path, [3, 8, 8], &Preparation::default()).unwrap_err().to_string();
        assert!(error.ends_with("ends in the middle of the picture"), "{error}");
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, GrayImage::new(8, 8));
        let bytes = fs::read(&path).unwrap();
        let error = |bytes: &[u8], shape| {
            fs::write(&path, bytes).unwrap();
            read_picture(&path, shape, &Preparation::default()).map_err(|error| error.to_string())
        };
        for end in 0..bytes.len() - 12 {
            assert!(error(&bytes[..end], [1, 8, 8]).is_err(), "cut at {end}");
        }
        assert!(error(&bytes, [2, 8, 8]).unwrap_err().contains("a picture has 1 or 3 channels, but the input takes 2"));
        assert!(error(&bytes, [1, 1 << 20, 1 << 20]).is_err());
        // A header that declares 4 billion pixels.
        let mut huge = bytes;
        huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        assert!(error(&huge, [1, 8, 8]).is_err());
    }
}
