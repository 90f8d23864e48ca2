//! How letters look: colours and attributes (`SGR` in ECMA-48 and xterm's control sequences).

use std::io::Write;

use vte::Params;

/// A colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// The terminal's own.
    #[default]
    Default,
    /// One of the palette of 256.
    Indexed(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// How a letter looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    foreground: Color,
    background: Color,
    /// A bit for each of [`ATTRIBUTES`].
    attributes: u8,
    /// 0: none; else its shape, as in `4:3`.
    underline: u8,
}

/// Attributes by the number that sets them, and the number that takes them away.
const ATTRIBUTES: [(u16, u16); 8] = [(1, 22), (2, 22), (3, 23), (5, 25), (7, 27), (8, 28), (9, 29), (53, 55)];

/// The last shape of an underline: dashed.
const UNDERLINE_MAX: u16 = 5;

impl Style {
    /// What is erased with this style looks like: its background, and nothing else of it.
    pub fn blank(self) -> Self {
        Self { background: self.background, ..Self::default() }
    }

    /// Changes it as `CSI … m` says. What is not known is passed over.
    pub fn apply(&mut self, params: &Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            match *param {
                [38, ref rest @ ..] => set(&mut self.foreground, color(rest, &mut params)),
                [48, ref rest @ ..] => set(&mut self.background, color(rest, &mut params)),
                // The colour of an underline, which is not kept.
                [58, ref rest @ ..] => drop(color(rest, &mut params)),
                [4, shape] => self.underline = shape.min(UNDERLINE_MAX) as u8,
                [number, ..] => self.apply_number(number),
                [] => {}
            }
        }
    }

    fn apply_number(&mut self, number: u16) {
        for (bit, (on, off)) in ATTRIBUTES.iter().enumerate() {
            if number == *on {
                self.attributes |= 1 << bit;
            } else if number == *off {
                self.attributes &= !(1 << bit);
            }
        }
        match number {
            0 => *self = Self::default(),
            4 => self.underline = 1,
            21 => self.underline = 2,
            24 => self.underline = 0,
            30..=37 => self.foreground = Color::Indexed(number as u8 - 30),
            39 => self.foreground = Color::Default,
            40..=47 => self.background = Color::Indexed(number as u8 - 40),
            49 => self.background = Color::Default,
            90..=97 => self.foreground = Color::Indexed(number as u8 - 90 + 8),
            100..=107 => self.background = Color::Indexed(number as u8 - 100 + 8),
            _ => {}
        }
    }

    /// Appends the sequence that sets exactly this style, whatever was set before.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[0");
        for (bit, (on, _)) in ATTRIBUTES.iter().enumerate() {
            if self.attributes & (1 << bit) != 0 {
                // Writing to memory cannot fail, here and below.
                let _ = write!(out, ";{on}");
            }
        }
        match self.underline {
            0 => {}
            1 => out.extend_from_slice(b";4"),
            shape => drop(write!(out, ";4:{shape}")),
        }
        write_color(out, 38, self.foreground);
        write_color(out, 48, self.background);
        out.push(b'm');
    }
}

fn set(color: &mut Color, new: Option<Color>) {
    *color = new.unwrap_or(*color);
}

fn write_color(out: &mut Vec<u8>, number: u8, color: Color) {
    let _ = match color {
        Color::Default => Ok(()),
        Color::Indexed(index) => write!(out, ";{number};5;{index}"),
        Color::Rgb(red, green, blue) => write!(out, ";{number};2;{red};{green};{blue}"),
    };
}

/// The colour in `rest` (`38:5:n`, `38:2:r:g:b`, `38:2:space:r:g:b`), or in the parameters that follow (`38;5;n`).
fn color<'a>(rest: &[u16], params: &mut impl Iterator<Item = &'a [u16]>) -> Option<Color> {
    match *rest {
        [5, index] => indexed(index),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => rgb(red, green, blue),
        [] => {
            let mut next = || params.next()?.first().copied();
            match next()? {
                5 => indexed(next()?),
                2 => rgb(next()?, next()?, next()?),
                _ => None,
            }
        }
        _ => None,
    }
}

fn indexed(index: u16) -> Option<Color> {
    index.try_into().ok().map(Color::Indexed)
}

fn rgb(red: u16, green: u16, blue: u16) -> Option<Color> {
    Some(Color::Rgb(red.try_into().ok()?, green.try_into().ok()?, blue.try_into().ok()?))
}
