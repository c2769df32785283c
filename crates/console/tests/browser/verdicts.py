"""Where each verdict of docs/verdicts.md is seen on a page: in the local cloud, or over a table in memory."""

import pathlib
import re

TABLE = pathlib.Path(__file__).resolve().parents[4] / "docs/verdicts.md"

# What a role, a stack or a deployment of the local cloud can be made to do wrong.
IN_THE_CLOUD = {
    "role_partition", "role_in_our_account", "role_of_other_account", "role_taken", "role_not_propagated", "role_not_assumable",
    "role_other_external_id",
    "canary_refused", "trust_without_external_id", "trust_with_other_external_id", "trust_policy_denied",
    "trust_principal_wide", "trust_names_others", "trust_condition_wide", "trust_names_other_external_ids", "secret_elsewhere",
    "secret_denied", "secret_malformed", "event_path_unproven", "event_path_silent", "credentials_wrong", "template_outdated",
    "ecr_get_authorization_token_denied", "ecr_describe_repositories_denied", "ecr_describe_images_denied", "ecr_list_images_denied",
    "ecr_batch_get_image_denied", "ecr_get_download_url_for_layer_denied", "ecr_batch_check_layer_availability_denied",
}

# What only AWS does, and a connector role that is closed while its sessions last; each with the probe that finds it.
IN_MEMORY = {
    "connector_refused": "opens_with_external_id", "sts_region_inactive": "opens_with_external_id", "session_of_other_account": "session_account",
    "trust_policy_malformed": "trust_policy", "throttled": "refuses_none", "unreachable": "ecr_get_authorization_token",
    "session_ended": "ecr_list_images", "ecr_denied_by_organization": "ecr_batch_get_image", "kms_key_closed": "ecr_batch_get_image",
}

# Of these, what could not be found out, and is no failure.
MAY_PASS = {"connector_refused", "throttled", "unreachable", "session_ended"}


def cells(line):
    """Splits a row of the table; what a cell holds has no bars."""
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def sentences():
    """Reads what each verdict says: its cause and its fix, by its code."""
    rows = [cells(line) for line in TABLE.read_text().splitlines() if re.match(r"\| `", line)]
    found = {code.strip("`"): (cause, fix) for code, cause, fix in rows}
    told = IN_THE_CLOUD | set(IN_MEMORY)
    assert told == set(found), f"seen nowhere, or unknown: {sorted(told ^ set(found))}"
    assert not IN_THE_CLOUD & set(IN_MEMORY), "one place is enough"
    return found
