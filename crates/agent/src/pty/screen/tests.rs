//! What programs write, what is then shown, and that a redraw shows the same.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::grid::{SCROLLBACK_CELLS_MAX, SCROLLBACK_ROWS_MAX};
use super::*;

const SMALL: Size = Size { columns: 10, rows: 4 };

fn screen(size: Size, written: &str) -> Screen {
    let mut screen = Screen::new(size);
    screen.process(written.as_bytes());
    screen
}

/// The letters of the rows that are shown, without blanks at their ends.
fn text(screen: &mut Screen) -> Vec<String> {
    screen.state.grid().rows.iter().map(row_text).collect()
}

fn row_text(row: &Row) -> String {
    let mut out = Vec::new();
    row.written().iter().filter(|cell| !cell.is_right_half()).for_each(|cell| cell.write(&mut out));
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

fn check(written: &str, expect: [&str; 4]) {
    assert_eq!(text(&mut screen(SMALL, written)), expect, "{written:?}");
}

#[test]
fn letters_wrap_and_scroll() {
    check("hello\r\nworld", ["hello", "world", "", ""]);
    check("0123456789ab", ["0123456789", "ab", "", ""]);
    check("0123456789\r\nab", ["0123456789", "ab", "", ""]);
    check("1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]);
    check("\x1b[?7l0123456789ab", ["012345678b", "", "", ""]);
    check("a\tb\x08c", ["a       c", "", "", ""]);
}

#[test]
fn sequences_move_erase_insert_and_delete() {
    check("\x1b[2;3Hx\x1b[Ay\x1b[10Dz", ["z  y", "  x", "", ""]);
    check("0123456789\x1b[1;5H\x1b[K", ["0123", "", "", ""]);
    check("0123456789\x1b[1;5H\x1b[1K", ["     56789", "", "", ""]);
    check("a\r\nb\r\nc\x1b[2;1H\x1b[J", ["a", "", "", ""]);
    check("abcdef\x1b[1;3H\x1b[2P", ["abef", "", "", ""]);
    check("abcdef\x1b[1;3H\x1b[2@", ["ab  cdef", "", "", ""]);
    check("abcdef\x1b[1;3H\x1b[2X", ["ab  ef", "", "", ""]);
    check("a\r\nb\r\nc\x1b[1;1H\x1b[L", ["", "a", "b", "c"]);
    check("a\r\nb\r\nc\x1b[1;1H\x1b[M", ["b", "c", "", ""]);
    check("a\x1b[4b", ["aaaaa", "", "", ""]);
    check("ab\x1b[4h\x1b[1;1Hc", ["cab", "", "", ""]);
}

#[test]
fn a_region_scrolls_alone() {
    check("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx", ["1", "3", "x", "4"]);
    check("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[2;1H\x1bMx", ["1", "x", "2", "4"]);
    check("\x1b[2;3r\x1b[?6h\x1b[9;1Hx", ["", "", "x", ""]);
}

#[test]
fn wide_letters_and_marks_stay_whole() {
    check("世界", ["世界", "", "", ""]);
    check("012345678世", ["012345678", "世", "", ""]);
    check("世\x1b[1;2Hx", [" x", "", "", ""]);
    check("世\x1b[1;1Hx", ["x", "", "", ""]);
    check("世x\x1b[1;2H\x1b[P", [" x", "", "", ""]);
    check("e\u{301}x", ["e\u{301}x", "", "", ""]);
    check("012345678e\u{301}x", ["012345678e\u{301}", "x", "", ""]);
    check("世\u{301}", ["世\u{301}", "", "", ""]);
}

#[test]
fn lines_are_drawn_with_the_other_set_of_letters() {
    check("\x1b(0lqk\x1b(Bq", ["┌─┐q", "", "", ""]);
    check("\x1b)0\x0eqqq\x0fq", ["───q", "", "", ""]);
}

#[test]
fn the_primary_screen_comes_back_with_the_cursor() {
    let mut screen = screen(SMALL, "shell$ \x1b[?1049h\x1b[2Jeditor\x1b[3;3H");
    assert_eq!(text(&mut screen)[0], "       edi");
    screen.process(b"\x1b[?1049lls");
    assert_eq!(text(&mut screen), ["shell$ ls", "", "", ""]);
}

#[test]
fn what_scrolls_off_the_primary_screen_is_kept_within_its_limit() {
    let kept = |screen: &Screen| screen.state.scrollback.rows().map(row_text).collect::<Vec<_>>();
    let screen = screen(SMALL, "1\r\n2\r\n\x1b[31m3\r\n4\r\n5\r\n6");
    assert_eq!(kept(&screen), ["1", "2"]);
    let mut screen = Screen::new(Size { columns: 100, rows: 2 });
    for number in 0..SCROLLBACK_ROWS_MAX * 2 {
        screen.process(format!("{number}\r\n").as_bytes());
    }
    assert_eq!(kept(&screen).len(), SCROLLBACK_ROWS_MAX);
    assert_eq!(kept(&screen).last().unwrap(), &(SCROLLBACK_ROWS_MAX * 2 - 2).to_string());
    screen.process("x".repeat(100 * SCROLLBACK_ROWS_MAX).as_bytes());
    assert_eq!(kept(&screen).len(), SCROLLBACK_CELLS_MAX / 100);
    screen.process(b"\x1b[3J");
    assert_eq!(kept(&screen).len(), 0);
}

#[test]
fn a_smaller_screen_keeps_the_cursors_row_and_a_larger_one_gives_room() {
    let mut screen = screen(SMALL, "1\r\n2\r\n3\r\n4567");
    screen.resize(Size { columns: 3, rows: 2 });
    assert_eq!(text(&mut screen), ["3", "456"]);
    assert_eq!((screen.state.cursor.row, screen.state.cursor.column), (1, 2));
    screen.resize(Size { columns: 5, rows: 3 });
    screen.process(b"x");
    assert_eq!(text(&mut screen), ["3", "45x", ""]);
    let mut screen = self::screen(SMALL, "1\r\n2");
    screen.resize(Size { columns: 10, rows: 2 });
    assert_eq!(text(&mut screen), ["1", "2"]);
    assert_eq!(screen.state.scrollback.rows().len(), 0);
}

#[test]
fn nothing_is_redrawn_where_nothing_was_written() {
    assert!(screen(SMALL, "").redraw().is_empty());
    assert!(!screen(SMALL, " ").redraw().is_empty());
}

#[test]
fn a_redraw_ends_with_the_sequence_that_is_under_way() {
    for (written, unfinished) in [
        ("a\x1b[3", "\x1b[3"),
        ("a\x1b[3\n1", "\x1b[31"),
        ("a\x1b]2;tit", "\x1b]2;tit"),
        ("a\x1b]2;title\x1b", "\x1b"),
        ("\x1b[31ma", ""),
        ("\x1b[31m", ""),
        ("a\x1b[3\x18", ""),
    ] {
        let redraw = screen(SMALL, written).redraw();
        let plain = screen(SMALL, "a").redraw().len();
        assert!(redraw.ends_with(unfinished.as_bytes()), "{written:?}");
        assert!(redraw.len() >= plain);
        let mut again = Screen::new(SMALL);
        again.process(&redraw);
        assert_eq!(again.unfinished.bytes(), unfinished.as_bytes(), "{written:?}");
    }
    let mut cut = screen(SMALL, "");
    cut.process(&"世".as_bytes()[..2]);
    assert!(cut.redraw().ends_with(&"世".as_bytes()[..2]));
    let long = screen(SMALL, &format!("\x1b]2;{}", "x".repeat(unfinished::KEPT_BYTES_MAX * 2)));
    assert_eq!(long.unfinished.bytes().len(), unfinished::KEPT_BYTES_MAX);
}

/// Everything a redraw must bring back.
fn view(screen: &Screen) -> impl PartialEq + std::fmt::Debug + use<> {
    let state = &screen.state;
    let columns = state.size.columns;
    let grid = |grid: &Grid| (rows(&grid.rows, columns), grid.top, grid.bottom);
    let scrollback: Vec<_> = state.scrollback.rows().map(|row| cells(row, columns)).collect();
    (
        grid(&state.main),
        state.alternate.as_ref().map(grid),
        state.main.saved,
        state.alternate.as_ref().map(|grid| grid.saved),
        state.cursor,
        state.modes.clone(),
        state.tabs.clone(),
        state.title.clone(),
        scrollback,
    )
}

fn rows(rows: &[Row], columns: u16) -> Vec<Vec<Cell>> {
    rows.iter().map(|row| cells(row, columns)).collect()
}

/// All places of a row.
fn cells(row: &Row, columns: u16) -> Vec<Cell> {
    (0..columns).map(|column| row.cell(column)).collect()
}

#[derive(Debug, Clone)]
enum Event {
    Written(Vec<u8>),
    Resized(Size),
}

fn any_size() -> impl Strategy<Value = Size> {
    (1u16..14, 1u16..8).prop_map(|(columns, rows)| Size { columns, rows })
}

/// Text, sequences that exist, and bytes of any kind.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z q~世é\u{301}\u{fe0f}👍]{0,12}".prop_map(String::into_bytes);
    let control =
        prop::sample::select(&b"\x07\x08\t\n\x0b\r\x0e\x0f\x18\x1a"[..]).prop_map(|byte| vec![byte]);
    let csi = ("[?!> ]{0,1}", "[0-9]{0,2}", "(;[0-9]{0,2}){0,2}", "[@A-Za-z`]")
        .prop_map(|(kind, first, more, last)| format!("\x1b[{kind}{first}{more}{last}").into_bytes());
    let mode = (
        prop::sample::select(&[1u16, 5, 6, 7, 25, 47, 1000, 1003, 1006, 1047, 1048, 1049, 2004][..]),
        prop::sample::select(&['h', 'l'][..]),
    );
    let mode = mode.prop_map(|(mode, on)| format!("\x1b[?{mode}{on}").into_bytes());
    let style = "(0|1|4|4:3|7|31|38;5;9|38:2:1:2:3|48;2;9;8;7|44|49|39|22)(;(1|42)){0,1}";
    let style = style.prop_map(|style| format!("\x1b[{style}m").into_bytes());
    let region = (1u16..8, 1u16..8).prop_map(|(top, bottom)| format!("\x1b[{top};{bottom}r").into_bytes());
    let escape = "[78DEHM=>c]|#8|[()][0B]".prop_map(|escape| format!("\x1b{escape}").into_bytes());
    let title = "[02];[a-z;]{0,5}".prop_map(|title| format!("\x1b]{title}\x07").into_bytes());
    let raw = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![6 => text, 3 => control, 4 => csi, 3 => mode, 3 => style, 2 => region, 2 => escape, 1 => title, 1 => raw]
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => any_bytes().prop_map(Event::Written),
        1 => any_size().prop_map(Event::Resized),
    ];
    prop::collection::vec(event, 0..24)
}

fn after(size: Size, events: Vec<Event>) -> Screen {
    let mut screen = Screen::new(size);
    for event in events {
        match event {
            Event::Written(bytes) => screen.process(&bytes),
            Event::Resized(size) => screen.resize(size),
        }
    }
    screen
}

/// What was written before a redraw is the same to what comes after it, but for a letter that would be repeated.
fn redrawn(screen: &Screen) -> Screen {
    let mut again = Screen::new(screen.state.size);
    again.process(&screen.redraw());
    again.state.last = screen.state.last;
    again
}

fn same(screen: &Screen, again: &Screen) -> Result<(), TestCaseError> {
    prop_assert_eq!(view(screen), view(again));
    Ok(())
}

proptest! {
    #[test]
    fn a_redraw_shows_the_same(size in any_size(), events in any_events(), later in any_events()) {
        let mut screen = after(size, events);
        let mut again = redrawn(&screen);
        same(&screen, &again)?;
        // What cannot be seen is there too: saved cursors, the half of a sequence, the screen behind.
        for event in later {
            match event {
                Event::Written(bytes) => [&mut screen, &mut again].map(|screen| screen.process(&bytes)),
                Event::Resized(size) => [&mut screen, &mut again].map(|screen| screen.resize(size)),
            };
        }
        same(&screen, &again)?;
    }

    #[test]
    fn no_bytes_make_it_panic_or_keep_too_much(
        size in any_size(),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b'9'), Just(b';')], 0..2000),
    ) {
        let mut screen = Screen::new(size);
        screen.process(&bytes);
        let state = &screen.state;
        let kept: usize = state.scrollback.rows().map(Row::kept).sum();
        prop_assert!(kept <= SCROLLBACK_CELLS_MAX && state.title.len() < TITLE_BYTES_MAX);
        prop_assert!(state.main.rows.iter().all(|row| row.kept() <= size.columns.into()));
        prop_assert_eq!(state.main.rows.len(), usize::from(size.rows));
    }
}
