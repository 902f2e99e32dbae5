"""All that a gateway decides by, read in one view."""

from dataclasses import dataclass

import sqlalchemy as sa

from inhouse.store.grants import StoredGrant, all_grants
from inhouse.store.keys import StoredKey, all_keys
from inhouse.store.roles import StoredRole, all_roles
from inhouse.store.scim_groups import GroupMember, StoredGroup, all_group_members, all_groups
from inhouse.store.teams import Membership, StoredTeam, all_memberships, all_teams
from inhouse.store.users import StoredUser, all_users


@dataclass(frozen=True, slots=True)
class State:
    """Who there is, and what they were given."""

    users: tuple[StoredUser, ...] = ()
    teams: tuple[StoredTeam, ...] = ()
    memberships: tuple[Membership, ...] = ()
    roles: tuple[StoredRole, ...] = ()
    grants: tuple[StoredGrant, ...] = ()
    keys: tuple[StoredKey, ...] = ()
    groups: tuple[StoredGroup, ...] = ()  # that the identity provider provisions
    group_members: tuple[GroupMember, ...] = ()


def read_state(connection: sa.Connection) -> State:
    return State(
        users=tuple(all_users(connection)),
        teams=tuple(all_teams(connection)),
        memberships=tuple(all_memberships(connection)),
        roles=tuple(all_roles(connection)),
        grants=tuple(all_grants(connection)),
        keys=tuple(all_keys(connection)),
        groups=tuple(all_groups(connection)),
        group_members=tuple(all_group_members(connection)),
    )
