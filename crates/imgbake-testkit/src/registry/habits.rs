//! What the test registry is like.

use std::time::Duration;

/// Whom a registry lets in.
#[derive(Debug, Clone, Default)]
pub enum Accepts {
    /// Everybody.
    #[default]
    All,
    /// A user with a password.
    Login(&'static str, &'static str),
    /// A user with a token, which lives so long.
    Token(&'static str, &'static str, Duration),
    /// Who has this identity token, with a token in exchange, which lives so long.
    Identity(&'static str, Duration),
}

/// Answers that registries of users give and no specification foresees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// The question for referrers is answered 401, without a challenge (Harbor).
    ReferrersUnauthorized,
    /// A list of no referrers is `null`.
    NullReferrers,
    /// The tag `sha256-HEX` is taken for the digest (GitLab).
    DashIsDigest,
    /// The next page of tags is one of several links in one header, written with blanks.
    ManyLinks,
    /// A page of tags may be empty and still have a next one.
    EmptyPage,
    /// Too large a piece of a blob is answered 416 (GHCR); the limit is `largest_upload`.
    PieceOutOfRange,
    /// `/v2/` answers 403, though anybody may read.
    PingForbidden,
    /// A manifest is given where one line of `Accept` names its type.
    OneAcceptLine,
    /// A login is offered before a token, and not accepted.
    BasicFirst,
    /// Listing tags needs a scope of its own, which the challenge names (Azure).
    TagsScope,
    /// An upload's beginning is redirected within the registry.
    UploadRedirected,
}

/// What a registry does, or does not. All is well by default.
#[expect(clippy::struct_excessive_bools, reason = "switches, each for itself")]
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// Whom it lets in.
    pub accepts: Accepts,
    /// How many requests a token serves; 0: any.
    pub token_uses: u64,
    /// Each exchange of an identity token gives another one, and ends the one before.
    pub rotates: bool,
    /// It has no referrers API.
    pub no_referrers: bool,
    /// It lets nobody list its tags.
    pub no_tag_list: bool,
    /// The longest manifest that it takes, in bytes; 0: any.
    pub largest_manifest: usize,
    /// The longest body of a blob's upload that it takes, in bytes; 0: any.
    pub largest_upload: u64,
    /// Every so many requests one is answered 429, and asks to wait no time; 0: none.
    pub busy_every: u64,
    /// How many answers with blobs it still cuts, at random places.
    pub cuts: u64,
    /// How many uploads it still cuts, each half way.
    pub upload_cuts: u64,
    /// One byte of each blob is wrong.
    pub wrong_blobs: bool,
    /// One byte of each manifest that is asked for by digest is wrong.
    pub wrong_manifests: bool,
    /// It says wrong digests of what is right.
    pub wrong_headers: bool,
    /// It answers a question for a piece with the whole.
    pub ignores_range: bool,
    /// It answers a blob's question with the way to another port, where no login must come.
    pub redirects: bool,
    /// It answers a blob's question with another way to itself, where a login must come.
    pub redirects_here: bool,
    /// It has blobs uploaded to another port, where no login must come.
    pub uploads_elsewhere: bool,
    /// It waits so long before each piece of a blob.
    pub slow: Duration,
    /// It never takes a blob from another repository.
    pub never_mounts: bool,
    /// It deletes no manifest.
    pub never_deletes: bool,
    /// It gives all tags at once, whatever was asked for.
    pub ignores_pages: bool,
    /// It has an oddity.
    pub odd: Option<Odd>,
}
