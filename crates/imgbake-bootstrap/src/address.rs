//! A mirror's address, apart from the login that may stand in it: a command line is for everybody to
//! read. Pure.

use std::fmt;

/// An archive's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Without user and password, without a slash at its end.
    pub(crate) shown: String,
    /// What stood before the `@`.
    pub(crate) login: Option<Login>,
}

/// User and password, decoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    user: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Address {
    /// Takes an address apart. `None`: its login cannot be written down for apt.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let Some((scheme, rest)) = text.split_once("://") else {
            return Some(Self { shown: text.to_owned(), login: None });
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let Some((info, host)) = authority.rsplit_once('@') else {
            return Some(Self { shown: text.to_owned(), login: None });
        };
        let path = &rest[authority.len()..];
        let (user, password) = info.split_once(':').unwrap_or((info, ""));
        let login = Login { user: decoded(user)?, password: decoded(password)? };
        Some(Self { shown: format!("{scheme}://{host}{path}"), login: Some(login) })
    }
}

impl Login {
    /// The login of an address as apt_auth.conf(5) has it.
    pub(crate) fn netrc(&self, address: &str) -> String {
        format!("machine {address} login {} password {}\n", self.user, self.password)
    }
}

/// Percent-decoding (RFC 3986, section 2.1). `None`: it is no text of one word.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out)
        .ok()
        .filter(|text| !text.is_empty() && !text.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_apart_from_what_is_shown() {
        for (text, shown, netrc) in [
            ("http://m.test/debian/", "http://m.test/debian", None),
            ("file:///srv/mirror", "file:///srv/mirror", None),
            ("http://m.test/a@b", "http://m.test/a@b", None),
            (
                "https://me%40x:p%25%3Aq@m.test:8443/debian",
                "https://m.test:8443/debian",
                Some("machine https://m.test:8443/debian login me@x password p%:q\n"),
            ),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.shown, shown);
            assert_eq!(address.login.map(|login| login.netrc(shown)).as_deref(), netrc);
        }
        for text in [
            "http://me:a%20b@m",
            "http://me:a%0Ab@m",
            "http://me@m",
            "http://a:%zz@m",
            "http://a:%f@m",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
