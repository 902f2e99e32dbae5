"""Who acts on this machine, as the kernel and the system's accounts say it."""

import os
import re

from inhouse.config.owner import user_name

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")


def actor() -> str:
    """'local:anna'; 'local:uid:4711' where the user has no account; 'local:root (sudo by anna)'.

    The real user of the process. $LOGNAME and $USER say what anybody likes, and are not asked;
    $SUDO_USER is as easily set, so that it stands apart, and only where it is a plain name.
    """
    name = f"local:{user_name(os.getuid())}"
    sudo = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo by {sudo})" if _NAME.fullmatch(sudo) else name
