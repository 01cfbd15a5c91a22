//! Lists that come in pages, and the header that leads from one to the next (RFC 8288).

use std::collections::HashSet;

use imgbake_http::Url;

use crate::{OciError, Result};

/// The pages of a list that were asked for.
pub(crate) struct Pages(HashSet<Url>);

impl Pages {
    /// The most pages of one list.
    const MOST: usize = 10_000;

    pub(crate) fn new(first: &Url) -> Self {
        Self(HashSet::from([first.clone()]))
    }

    /// The next page. One that was read before ends the list: a server that does not know `last` sends its
    /// first page for ever.
    ///
    /// # Errors
    /// The list has no end.
    pub(crate) fn follow(&mut self, next: Option<Url>, label: &str) -> Result<Option<Url>> {
        let Some(next) = next else { return Ok(None) };
        if self.0.len() >= Self::MOST {
            let what = format!("{label} gives a list of more than {} pages", Self::MOST);
            return Err(OciError::failed(what));
        }
        Ok(self.0.insert(next.clone()).then_some(next))
    }
}

/// The first target of a `Link` header (RFC 8288, section 3) whose relation is `next`.
pub(crate) fn next_of(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let end = end_of_link(after);
        let is_next = split_outside_quotes(&after[..end], ';').into_iter().any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
    None
}

/// Where a link's parameters end: at the comma before the next link.
fn end_of_link(parameters: &str) -> usize {
    split_outside_quotes(parameters, ',').first().map_or(0, |first| first.len())
}

/// Splits at a separator that stands outside quotes.
pub(crate) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = text.split(move |c| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && c == '\\';
        if c == '"' && !was_escaped {
            quoted = !quoted;
        }
        c == separator && !quoted
    });
    split.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_next_page() {
        for (header, expected) in [
            ("</v2/a/tags/list?last=x&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=x&n=2")),
            ("<https://h/x>;rel=next", Some("https://h/x")),
            ("</x>; rel=\"prev\"", None),
            ("</a>; rel=\"first\", </b>; rel=\"next\"", Some("/b")),
            ("</a?x=1,2>; rel = next", Some("/a?x=1,2")),
            ("</a>; title=\"a, <b>; rel=next\"; rel=\"last\", </c>; REL=\"prev NEXT\"", Some("/c")),
            ("</a>; rel=nextish", None),
            ("</a; rel=next", None),
            ("/x; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_of(header).as_deref(), expected, "{header}");
        }
    }
}
