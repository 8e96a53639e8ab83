"""`orders doctor`."""

from collections.abc import Iterator

from botocore.exceptions import NoCredentialsError, NoRegionError

from tools.operations.doctor import Finding, Stack, check_stack
from tools.orders_cli.connection import AWS_ERRORS, ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed
from tools.orders_cli.output import Json, print_json, print_table


def doctor(*, json: Json = False, connection: Connection = ENVIRONMENT) -> int:
    """Check the stack and the connection to it. The exit status is 1 if something is wrong."""
    found = list(_findings(connection))
    if json:
        print_json([{"check": one.check, "problem": one.problem} for one in found])
    else:
        print_table(("check", ""), ((one.check, one.problem or "ok") for one in found))
    return 1 if any(one.problem for one in found) else 0


def _findings(connection: Connection) -> Iterator[Finding]:
    """The checks of the connection, each of which the next ones need, then those of the stack."""
    try:
        connection.client("sts").get_caller_identity()
        yield Finding("credentials and Region")
        _ = connection.outputs
    except NoCredentialsError:
        yield Finding(
            "credentials and Region", "there are no credentials: aws configure, or name a profile with --profile"
        )
    except NoRegionError:
        yield Finding("credentials and Region", "no Region is set: name one with --region")
    except (CommandFailed, *AWS_ERRORS) as error:
        yield Finding("stack", str(error))
    else:
        yield Finding("stack")
        yield from check_stack(Stack(connection.client, connection.outputs))
