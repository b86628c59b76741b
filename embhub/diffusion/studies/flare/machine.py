"""A site's FLARE client as a program, which does for its server what a job takes, and nothing else.

FLARE's client asks its site's policy whether somebody may read files, or stop it, where the server says that it should
ask. A server that lies does not say so, and would read any file at a site. So what a job does not take is not there.

    python -m embhub.diffusion.studies.flare.machine ...   as FLARE's own `client_train`
"""

from __future__ import annotations

import sys
from typing import Final

from nvflare.private.defs import TrainingTopic
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors

TOPICS: Final = frozenset({
    TrainingTopic.CHECK_RESOURCE, TrainingTopic.CANCEL_RESOURCE, TrainingTopic.DEPLOY, TrainingTopic.START_JOB,
    TrainingTopic.ABORT, TrainingTopic.ABORT_TASK, TrainingTopic.NOTIFY_JOB_STATUS, TrainingTopic.CHECK_STATUS,
})  # fmt: skip
"""What a server may ask of a site: that it runs a job, which the site's policy judges, or ends it."""


def narrow() -> None:
    """Leave of what FLARE's client answers the TOPICS alone."""
    ClientRequestProcessors.request_processors = [
        one for one in ClientRequestProcessors.request_processors if set(one.get_topics()) <= TOPICS
    ]


def main() -> int:
    """Run FLARE's client, narrowed; returns its exit code."""
    from nvflare.fuel.f3.mpm import MainProcessMonitor
    from nvflare.private.fed.app.client import client_train

    narrow()
    args = client_train.parse_arguments()
    return int(MainProcessMonitor.run(main_func=client_train.main, run_dir=args.workspace, args=args) or 0)


if __name__ == "__main__":
    sys.exit(main())
