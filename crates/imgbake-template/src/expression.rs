//! Strings with expressions: where their expressions stand, and what those refer to.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// The inside of one `{{ … }}` or `{% … %}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    /// Bytes between the delimiters, without `-` and `+` marks.
    pub(crate) inner: Range<usize>,
    /// Whether it prints a value.
    pub(crate) prints: bool,
}

/// The regions of a string, without those in `{% raw %}`.
pub(crate) fn regions(text: &str) -> Vec<Region> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").into_iter().chain(text[from..].find("{%")).min()
    {
        let start = from + open + 2;
        let prints = text[from + open..].starts_with("{{");
        let close = if prints { "}}" } else { "%}" };
        let Some(length) = text[start..].find(close) else { break };
        let end = start + length;
        from = end + 2;
        let inner = trim_marks(text, start..end);
        if !prints && text[inner.clone()].trim() == "raw" {
            from = end_of_raw(text, from);
            continue;
        }
        found.push(Region { inner, prints });
    }
    found
}

fn end_of_raw(text: &str, from: usize) -> usize {
    static END: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{%[-+]?\s*endraw\s*[-+]?%\}").expect("a fixed pattern"));
    END.find_at(text, from).map_or(text.len(), |found| found.end())
}

fn trim_marks(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let front = usize::from(inner.starts_with(['-', '+']));
    let back = usize::from(inner.len() > front && inner.ends_with(['-', '+']));
    range.start + front..range.end - back
}

/// The expression of a string that is nothing but one `{{ … }}`.
pub(crate) fn single(text: &str) -> Option<&str> {
    let all = regions(text);
    let [region] = all.as_slice() else { return None };
    let around = [&text[..region.inner.start], &text[region.inner.end..]];
    let bare = |part: &str, extra: &str| part.trim().trim_matches(['-', '+']) == extra;
    let whole = region.prints && bare(around[0], "{{") && bare(around[1], "}}");
    whole.then(|| text[region.inner.clone()].trim())
}

/// One mention of `var.NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    /// Whether it is all that its `{{ … }}` holds.
    pub(crate) alone: bool,
}

/// Every mention of a variable in a string's expressions.
pub(crate) fn mentions(text: &str) -> Vec<Mention> {
    static VAR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(^|[^\w.])(var\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*["']([^"']*)["']\s*\]))"#)
            .expect("a fixed pattern")
    });
    let mut found = Vec::new();
    for region in regions(text) {
        let inner = &text[region.inner.clone()];
        for hit in VAR.captures_iter(inner) {
            let (Some(all), Some(name)) = (hit.get(2), hit.get(3).or_else(|| hit.get(4))) else {
                continue;
            };
            found.push(Mention {
                name: name.as_str().to_owned(),
                span: region.inner.start + all.start()..region.inner.start + all.end(),
                alone: region.prints && inner.trim() == all.as_str(),
            });
        }
    }
    found
}

/// The filters that a string's expressions name; none of an expression with a quoted text in it,
/// where a `|` may be anything.
pub(crate) fn filters(text: &str) -> Vec<(&str, Range<usize>)> {
    static PIPE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\|\s*([A-Za-z_]\w*)").expect("a fixed pattern"));
    let mut found = Vec::new();
    for Region { inner, .. } in regions(text) {
        let part = &text[inner.clone()];
        if part.contains(['"', '\'']) {
            continue;
        }
        for name in PIPE.captures_iter(part).filter_map(|hit| hit.get(1)) {
            found.push((name.as_str(), inner.start + name.start()..inner.start + name.end()));
        }
    }
    found
}

/// The place of a word in a string's expressions.
pub(crate) fn find_word(text: &str, word: &str) -> Option<Range<usize>> {
    regions(text).into_iter().find_map(|region| {
        let inner = &text[region.inner.clone()];
        let edge = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        inner.match_indices(word).find_map(|(at, _)| {
            let end = at + word.len();
            let free = edge(inner[..at].chars().next_back()) && edge(inner[end..].chars().next());
            free.then(|| region.inner.start + at..region.inner.start + end)
        })
    })
}

/// The place in the template of a part of a string. Where the string is not written as it reads
/// (escapes, line ends), that is the whole string.
pub(crate) fn locate(
    source: &str,
    string: &Range<usize>,
    value: &str,
    part: Range<usize>,
) -> Range<usize> {
    let raw = source.get(string.clone()).unwrap_or_default();
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| raw.starts_with(quote));
    let Some(quotes) = quotes else { return string.clone() };
    let first_line = usize::from(quotes.len() == 3 && raw[3..].starts_with('\n'));
    let start = quotes.len() + first_line;
    let as_it_reads = raw.get(start..start + value.len()) == Some(value)
        && raw.get(start + value.len()..) == Some(quotes);
    if as_it_reads && part.end <= value.len() {
        string.start + start + part.start..string.start + start + part.end.max(part.start + 1)
    } else {
        string.clone()
    }
}
