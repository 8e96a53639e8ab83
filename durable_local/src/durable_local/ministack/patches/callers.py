"""Puts the worker's process id into the user agent of its requests.

Every AWS SDK of a worker says that it is a handler (AWS_SDK_UA_APP_ID). With the process id, a fault can be applied to
the worker that sent a request. Only for Python handlers.
"""

from .patching import Patch

# The line of MiniStack's worker program after which its environment is complete and the handler is not imported yet.
THEIRS = "    os.environ.update(env)\n"
OURS = THEIRS + '    os.environ["AWS_SDK_UA_APP_ID"] += "-" + str(os.getpid())\n'

patch = Patch(__name__)
patch.replaces_text("ministack.core.lambda_runtime", "_PYTHON_WORKER_SCRIPT", THEIRS, OURS)
