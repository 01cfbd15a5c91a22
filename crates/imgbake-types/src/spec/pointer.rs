//! JSON Pointers (RFC 6901) into a template's table: `/script`, `/exit_codes/1`, `/env/HOME`.

/// The pointer to a value by its keys and, in lists, its numbers.
pub fn pointer<'k>(parts: impl IntoIterator<Item = &'k str>) -> String {
    parts.into_iter().fold(String::new(), |mut pointer, part| {
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        pointer
    })
}

/// The keys and numbers of a pointer.
pub fn parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(unescape)
}

/// One key of a pointer as it stands in the table.
pub(super) fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        for (all, text) in [
            (&["script"][..], "/script"),
            (&["exit_codes", "1"], "/exit_codes/1"),
            (&["env", "a/b~1", ""], "/env/a~1b~01/"),
            (&[], ""),
        ] {
            assert_eq!(pointer(all.iter().copied()), text);
            assert_eq!(parts(text).collect::<Vec<_>>(), all);
        }
    }
}
