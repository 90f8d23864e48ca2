//! Where a client that comes back to a stream goes on.

use http::HeaderMap;

use super::query::Query;
use crate::error::{Error, Result};

/// Where a client that comes back says which event it has seen last.
const LAST_EVENT_ID: &str = "last-event-id";

/// The event that was seen last. The header beats the query: a client that comes back by itself repeats its first query.
pub fn after(mut query: Query, headers: &HeaderMap) -> Result<Option<u64>> {
    let wanted = "the number of an event";
    let after = query.read("after", wanted, |text| text.parse().ok());
    query.finish()?;
    let Some(last) = headers.get(LAST_EVENT_ID) else { return Ok(after) };
    let last = last.to_str().ok().and_then(|text| text.trim().parse().ok());
    last.map(Some).ok_or_else(|| Error::field("Last-Event-ID", format!("must be {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, header: Option<&str>, expect: Result<Option<u64>, ()>) {
        let headers =
            header.map(|value| (http::HeaderName::from_static(LAST_EVENT_ID), value.parse().unwrap()));
        let found = after(Query::parse(Some(query)).unwrap(), &headers.into_iter().collect());
        assert_eq!(found.map_err(|_| ()), expect, "{query} {header:?}");
    }

    #[test]
    fn where_to_go_on_is_in_the_query_or_the_header() {
        check("", None, Ok(None));
        check("after=7", None, Ok(Some(7)));
        check("after=7", Some("9"), Ok(Some(9)));
        check("", Some("0"), Ok(Some(0)));
        check("after=-1", None, Err(()));
        check("after=18446744073709551616", None, Err(()));
        check("", Some("x"), Err(()));
    }
}
