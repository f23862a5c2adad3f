//! `fast_image_resize`, without the instructions that only some machines have: the same bytes everywhere.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{CpuExtensions, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::types::Picture;

/// The implementation.
pub(crate) struct Scale;

impl crate::scaler::Guest for Scale {
    fn fit(picture: Picture, width: u32, height: u32) -> Result<Picture, String> {
        if picture.width == 0 || picture.height == 0 || width == 0 || height == 0 {
            return Err("a picture without pixels".to_owned());
        }
        let (to_width, to_height) = fitting((picture.width, picture.height), (width, height));
        if (to_width, to_height) == (picture.width, picture.height) {
            return Ok(picture);
        }
        let from = ImageRef::new(picture.width, picture.height, &picture.pixels, PixelType::U8x3);
        let from = from.map_err(|error| error.to_string())?;
        let mut to = Image::new(to_width, to_height, PixelType::U8x3);
        let mut resizer = Resizer::new();
        // SAFETY: No instructions beyond those of every machine are asked for.
        #[allow(unsafe_code, reason = "the crate marks the choice as unsafe")]
        unsafe {
            resizer.set_cpu_extensions(CpuExtensions::None);
        }
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(fast_image_resize::FilterType::Lanczos3));
        resizer.resize(&from, &mut to, &options).map_err(|error| error.to_string())?;
        Ok(Picture { width: to_width, height: to_height, pixels: to.into_vec() })
    }
}

/// The largest size of these proportions in a box, and never larger than it was.
fn fitting((width, height): (u32, u32), (most_width, most_height): (u32, u32)) -> (u32, u32) {
    if width <= most_width && height <= most_height {
        return (width, height);
    }
    let scaled = |side: u32, by: u32, over: u32| {
        let side = (u64::from(side) * u64::from(by) / u64::from(over)).max(1);
        u32::try_from(side).unwrap_or(u32::MAX)
    };
    if u64::from(width) * u64::from(most_height) > u64::from(height) * u64::from(most_width) {
        (most_width, scaled(height, most_width, width))
    } else {
        (scaled(width, most_height, height), most_height)
    }
}
