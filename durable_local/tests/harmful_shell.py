"""A shell whose variables break every AWS SDK."""

import shutil

CLOSED = "http://127.0.0.1:9"
SERVICES = ("S3", "SQS", "STS", "LAMBDA", "DYNAMODB", "CLOUDFORMATION", "EVENTBRIDGE", "CLOUDWATCH_LOGS")
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIALEAKEDLEAKEDLEAK",
    "AWS_SECRET_ACCESS_KEY": "leaked-secret",
    "AWS_SESSION_TOKEN": "leaked-token",
    "AWS_SECURITY_TOKEN": "leaked-token",
}


def variables(folder):
    """Every variable that AWS's SDKs and Python's HTTP clients read, each with a value that breaks them."""
    broken = folder / "broken"
    broken.write_text("][ this is no configuration\n")
    user = folder / "user"
    model = user / ".aws" / "models" / "sqs" / "2012-11-05"
    model.mkdir(parents=True)
    (model / "service-2.json").write_text("this is no model")
    for name in ("config", "credentials"):
        shutil.copy(broken, user / ".aws" / name)
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        **KEYS,
        "HOME": str(user),
        "PYTHONPATH": str(broken),
        "PYTHONWARNINGS": "error",
        "AWS_PROFILE": "unknown",
        "AWS_DEFAULT_PROFILE": "unknown",
        "AWS_CONFIG_FILE": str(broken),
        "AWS_SHARED_CREDENTIALS_FILE": str(broken),
        "AWS_DATA_PATH": str(user / ".aws" / "models"),
        "AWS_ENDPOINT_URL": CLOSED,
        **{f"AWS_ENDPOINT_URL_{service}": CLOSED for service in SERVICES},
        "AWS_REGION": "mars-north-1",
        "AWS_DEFAULT_REGION": "mars-north-1",
        "AWS_CA_BUNDLE": str(broken),
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        **dict.fromkeys(
            (
                "AWS_ACCOUNT_ID_ENDPOINT_MODE",
                "AWS_DEFAULTS_MODE",
                "AWS_MAX_ATTEMPTS",
                "AWS_REQUEST_CHECKSUM_CALCULATION",
                "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
                "AWS_RESPONSE_CHECKSUM_VALIDATION",
                "AWS_RETRY_MODE",
                "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
                "AWS_STS_REGIONAL_ENDPOINTS",
            ),
            "nonsense",
        ),
        **dict.fromkeys([*proxies, *map(str.lower, proxies)], CLOSED),
        "NO_PROXY": "",
        "no_proxy": "",
    }
