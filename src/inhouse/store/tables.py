"""The tables as they are today. Their history is in `migrations/`."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

SCHEMA_VERSION = "0006"
"""The newest migration. A database that names another one is upgraded, or refused if newer."""

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("models", String, nullable=True),  # JSON list of names; NULL: any model
    Column("created", Float, nullable=False),  # seconds since the epoch, as all times here
    Column("expires", Float, nullable=False),
    Column("revoked", Float, nullable=True),
    Column("last_used", Float, nullable=True),
    Column("owner_id", String(32), nullable=True),  # the user; NULL: removed, and the key is dead
    Column("dialects", String, nullable=True),  # as `models`
    Column("purposes", String, nullable=True),
)

api_key_secrets = Table(
    "api_key_secrets",
    metadata,
    Column("key_id", String(16), ForeignKey("api_keys.id"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),  # HMAC-SHA256 under the pepper
    Column("created", Float, nullable=False),
    Column("ends", Float, nullable=True),  # after a rotation: when the old secret stops
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),  # goes up with every change: what watchers ask for
)

pepper = Table(
    "pepper",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one pepper
    Column("proof", LargeBinary(32), nullable=False),  # a keyed digest: tells which pepper it is
)

users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # person or service
    Column("issuer", String(512), nullable=False),  # of a person's tokens; empty for what is local
    Column("subject", String(256), nullable=False),  # a service's is its name
    Column("name", String(256), nullable=False),
    Column("email", String(320), nullable=True),  # to be shown, and for nothing else
    Column("active", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("last_seen", Float, nullable=True),
    Column("source", String(16), nullable=False),  # local, key, oidc, scim or migration
    UniqueConstraint("issuer", "subject", name="users_issuer_subject"),
)

teams = Table(
    "teams",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("source", String(16), nullable=False),
)

team_members = Table(
    "team_members",
    metadata,
    Column("team_id", String(32), ForeignKey("teams.id"), primary_key=True),
    Column("user_id", String(32), ForeignKey("users.id"), primary_key=True),
    Column("added", Float, nullable=False),
)

roles = Table(  # a company's own; the built-in ones are data in the code
    "roles",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("about", String(512), nullable=False),
    Column("permissions", String, nullable=False),  # JSON list
    Column("created", Float, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("holder_kind", String(16), nullable=False),  # user, team or group
    Column("holder", String(256), nullable=False),  # an id, or the name of a group
    Column("role", String(64), nullable=False),
    Column("models", String, nullable=True),  # JSON lists of names; NULL: any
    Column("dialects", String, nullable=True),
    Column("purposes", String, nullable=True),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=True),
    Column("given_by", String(256), nullable=False),
    Column("reason", String(1024), nullable=False),
    Column("origin", String(64), nullable=False),  # given, request ID, break-glass, key, migration
    Column("revoked", Float, nullable=True),  # it stays, so that a record that names it is read
    Column("revoked_by", String(256), nullable=True),
)

access_requests = Table(
    "access_requests",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user_id", String(32), nullable=False),  # for whom
    Column("asked_by", String(256), nullable=False),
    Column("role", String(64), nullable=False),
    Column("models", String, nullable=True),
    Column("dialects", String, nullable=True),
    Column("purposes", String, nullable=True),
    Column("created", Float, nullable=False),
    Column("until", Float, nullable=True),  # when the grant shall end
    Column("reason", String(1024), nullable=False),
    Column("state", String(16), nullable=False),  # open, approved, denied
    Column("decided", Float, nullable=True),
    Column("decided_by", String(256), nullable=True),
    Column("note", String(1024), nullable=True),
    Column("grant_id", String(32), nullable=True),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),  # all, role, team, model or unseen
    Column("scope_of", String(256), nullable=False),  # which role, which team ...
    Column("size", Integer, nullable=False),  # how many items it was opened with
    Column("opened", Float, nullable=False),
    Column("opened_by", String(256), nullable=False),
    Column("opened_by_name", String(256), nullable=False),
    Column("due", Float, nullable=False),
    Column("reviewers", String, nullable=True),  # JSON lists; NULL: whoever has the permission
    Column("reviewer_names", String, nullable=True),
    Column("separate", Boolean, nullable=False),  # as the configuration said at the opening
    Column("closed", Float, nullable=True),
    Column("closed_by", String(256), nullable=True),
    Column("closed_by_name", String(256), nullable=True),
    Column("note", String(1024), nullable=True),
    Column("json_sha256", String(64), nullable=True),  # of the report
    Column("csv_sha256", String(64), nullable=True),
)

review_items = Table(  # names as they were at the opening: a report tells of that day
    "review_items",
    metadata,
    Column("review_id", String(32), ForeignKey("reviews.id"), primary_key=True),
    Column("grant_id", String(32), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("holder_kind", String(16), nullable=False),
    Column("holder", String(256), nullable=False),
    Column("holder_name", String(256), nullable=False),
    Column("members", String, nullable=False),  # JSON list of a team's members
    Column("role", String(64), nullable=False),
    Column("models", String, nullable=True),
    Column("dialects", String, nullable=True),
    Column("purposes", String, nullable=True),
    Column("since", Float, nullable=False),
    Column("until", Float, nullable=True),
    Column("given_by", String(256), nullable=False),
    Column("given_by_name", String(256), nullable=False),
    Column("why", String(1024), nullable=False),
    Column("origin", String(64), nullable=False),
    Column("last_seen", Float, nullable=True),
    Column("last_used", Float, nullable=True),
    Column("decision", String(16), nullable=False),  # empty while there is none
    Column("decided", Float, nullable=True),
    Column("decided_by", String(256), nullable=True),
    Column("decided_by_name", String(256), nullable=True),
    Column("reason", String(1024), nullable=False),
    Column("ended", Float, nullable=True),  # when the grant had ended, as seen at the closing
)

scim_users = Table(  # persons whom the identity provider provisions, and its word about them
    "scim_users",
    metadata,
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("user_name", String(256), nullable=False),
    Column("user_name_key", String(256), nullable=True, unique=True),  # folded; NULL: removed
    Column("external_id", String(256), nullable=True, index=True),
    Column("active", Boolean, nullable=False),  # the provider's word
    Column("was_active", Boolean, nullable=False),  # what users.active was before its "no"
    Column("profile", String, nullable=False),  # JSON: names and addresses, to be shown
    Column("created", Float, nullable=False),
    Column("modified", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Column("removed", Float, nullable=True),  # it stays, hidden from the provider
)

scim_groups = Table(  # groups that the identity provider provisions
    "scim_groups",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(256), nullable=False),
    Column("name_key", String(256), nullable=False, unique=True),  # folded
    Column("external_id", String(256), nullable=True, unique=True),
    Column("created", Float, nullable=False),
    Column("modified", Float, nullable=False),
    Column("version", Integer, nullable=False),
)

scim_members = Table(
    "scim_members",
    metadata,
    Column("group_id", String(32), ForeignKey("scim_groups.id"), primary_key=True),
    Column(
        "user_id",
        String(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),  # HMAC-SHA256 of the token
    Column("issuer", String(256), nullable=False),  # with the subject: who logged in
    Column("subject", String(256), nullable=False),
    Column("name", String(256), nullable=False),  # to show; identifies nobody
    Column("roles", String, nullable=False),  # JSON lists of names, as they were at login
    Column("groups", String, nullable=False),
    Column("provider_session", String(256), nullable=False),  # 'sid' there; empty: none was told
    Column("created", Float, nullable=False),
    Column("last_seen", Float, nullable=False),  # now and then, not with every request
    Column("idle_s", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("ended", Float, nullable=True),
)
