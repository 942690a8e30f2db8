//! Colours of a brand, and the contrast that keeps text readable on them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The contrast WCAG 2.2 AA asks for normal text.
const READABLE: f64 = 4.5;

/// An opaque sRGB colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

/// A colour that is not written `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written #rrggbb, for example #0f766e")]
pub struct ColorError;

impl Color {
    /// White.
    pub const WHITE: Self = Self::new(255, 255, 255);
    /// Text on a bright brand colour. Black, because on every colour either black or white is readable; no softer
    /// pair has that.
    pub const INK: Self = Self::new(0, 0, 0);
    /// The background of cards in dark mode.
    pub const NIGHT: Self = Self::new(27, 32, 36);

    /// A colour from its parts.
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue }
    }

    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Result<Self, ColorError> {
        let digits = text
            .strip_prefix('#')
            .filter(|d| d.len() == 6 && d.is_ascii())
            .ok_or(ColorError)?;
        let part = |range| u8::from_str_radix(&digits[range], 16).map_err(|_| ColorError);
        Ok(Self::new(part(0..2)?, part(2..4)?, part(4..6)?))
    }

    /// Relative luminance, 0 to 1 (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let value = f64::from(part) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    /// Contrast ratio of two colours, 1 to 21 (WCAG 2.2).
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// White or ink, whichever reads better on this colour.
    #[must_use]
    pub fn text_on(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::INK) {
            Self::WHITE
        } else {
            Self::INK
        }
    }

    /// This colour, moved towards white or ink only as far as text in it needs to be readable on `background`.
    #[must_use]
    pub fn readable_on(self, background: Self) -> Self {
        let goal = background.text_on();
        (0..=20)
            .map(|step| self.mixed(goal, step * 5))
            .find(|color| color.contrast(background) >= READABLE)
            .unwrap_or(goal)
    }

    /// This colour with `percent` of another mixed in.
    #[must_use]
    pub fn mixed(self, other: Self, percent: u16) -> Self {
        let percent = percent.min(100);
        let mix = |a: u8, b: u8| ((u16::from(a) * (100 - percent) + u16::from(b) * percent) / 100) as u8;
        Self::new(
            mix(self.red, other.red),
            mix(self.green, other.green),
            mix(self.blue, other.blue),
        )
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

impl TryFrom<String> for Color {
    type Error = ColorError;
    fn try_from(text: String) -> Result<Self, ColorError> {
        Self::parse(&text)
    }
}

impl From<Color> for String {
    fn from(color: Color) -> Self {
        color.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_and_writes_the_hex_form() {
        assert_eq!(Color::parse("#0F766e").unwrap().to_string(), "#0f766e");
        for wrong in ["", "#fff", "0f766e", "#0f766g", "#0f766e00", "red;}", "#€€"] {
            assert!(Color::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_brand_colour_becomes_readable() {
        for step in 0..=64_u16 {
            let shade = (step * 4).min(255) as u8;
            for color in [
                Color::new(shade, shade, shade),
                Color::new(shade, 0, 0),
                Color::new(0, shade, 255 - shade),
                Color::new(255, shade, 0),
            ] {
                assert!(color.contrast(color.text_on()) >= READABLE, "text on {color}");
                for background in [Color::WHITE, Color::NIGHT] {
                    assert!(
                        color.readable_on(background).contrast(background) >= READABLE,
                        "{color}"
                    );
                }
            }
        }
    }
}
