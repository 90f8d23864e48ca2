//! Text as HTML.

use serde_json::Value;

/// Text between tags or in quotes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A value, a field a line.
pub fn json(value: &Value) -> String {
    format!("{value:#}")
}

/// Paragraphs, lists, and code between backticks.
pub fn prose(text: &str) -> String {
    let mut out = String::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        if block.starts_with("- ") {
            let items =
                block.lines().map(|line| format!("<li>{}</li>\n", inline(line.trim_start_matches("- "))));
            out += &format!("<ul>\n{}</ul>\n", items.collect::<String>());
        } else {
            out += &format!("<p>{}</p>\n", inline(block));
        }
    }
    out
}

/// One paragraph without its tags.
pub fn inline(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let marked = pieces.map(|(index, piece)| match index % 2 {
        0 => escape(piece),
        _ => format!("<code>{}</code>", escape(piece)),
    });
    marked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_has_paragraphs_lists_and_code() {
        assert_eq!(prose("a `b<c>` d\n\ne"), "<p>a <code>b&lt;c&gt;</code> d</p>\n<p>e</p>\n");
        assert_eq!(prose("- `a`: x\n- b"), "<ul>\n<li><code>a</code>: x</li>\n<li>b</li>\n</ul>\n");
    }
}
