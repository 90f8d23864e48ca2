//! What S3 says in XML, as far as we read it: the texts of elements that have no elements in them.

/// The content of the first element of this name.
pub(super) fn first<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    all(text, name).next()
}

/// The contents of all elements of this name, none of which is in another.
pub(super) fn all<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&open)?;
        let (content, behind) = behind.split_once(&close)?;
        rest = behind;
        Some(content)
    })
}

/// A text without its escapes.
pub(super) fn plain(text: &str) -> String {
    let pairs =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whatever_is_around_them() {
        let text = "<?xml?><R xmlns=\"x\"><C><Key>a</Key><Size>1</Size></C>\n<C><Key>b&amp;&lt;c</Key></C><Key>z</R>";
        let contents: Vec<_> = all(text, "C").collect();
        assert_eq!(contents.len(), 2);
        assert_eq!(first(contents[1], "Key").map(plain).as_deref(), Some("b&<c"));
        assert_eq!(first(contents[1], "Size"), None);
        assert_eq!(first("<Key>cut", "Key"), None);
    }
}
