//! The wall clock of a machine whose kernel keeps one of its own: it stood still with the machine.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Notes;
use crate::failure;

/// What a clock may be off, in milliseconds: as much as the question itself may take.
const OFF_MS_MAX: u64 = 100;

/// Sets the clock to this time, if it says another one. Returns how far it was set, in milliseconds.
pub fn set(wall_ms: u64, notes: &mut Notes) -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
    let Some(step_ms) = step(now_ms, wall_ms) else { return 0 };
    match set_to(wall_ms) {
        Ok(()) => step_ms,
        Err(error) => {
            notes.add(format!("its clock is off by {step_ms} ms: {}", failure::text(&error)));
            0
        }
    }
}

/// How far a clock has to be set; `None` if it is right.
fn step(now_ms: u64, wall_ms: u64) -> Option<i64> {
    let is_off = now_ms.abs_diff(wall_ms) > OFF_MS_MAX;
    is_off.then(|| i64::try_from(i128::from(wall_ms) - i128::from(now_ms)).unwrap_or(i64::MAX))
}

fn set_to(wall_ms: u64) -> io::Result<()> {
    // SAFETY: all zeros is a time; it is filled below.
    let mut time = unsafe { std::mem::zeroed::<libc::timespec>() };
    time.tv_sec = (wall_ms / 1000).try_into().map_err(io::Error::other)?;
    time.tv_nsec = (wall_ms % 1000 * 1_000_000) as libc::c_long;
    // SAFETY: reads `time`.
    let result = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_nearly_right_is_left_alone() {
        let now_ms = 1_700_000_000_000;
        for off_ms in [0, OFF_MS_MAX] {
            assert_eq!(step(now_ms, now_ms + off_ms), None);
            assert_eq!(step(now_ms, now_ms - off_ms), None);
        }
        assert_eq!(step(now_ms, now_ms + 3_600_000), Some(3_600_000));
        assert_eq!(step(now_ms, now_ms - 101), Some(-101));
        assert_eq!(step(0, u64::MAX), Some(i64::MAX));
    }
}
