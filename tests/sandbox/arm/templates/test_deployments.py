"""Template deployments through Azure's own client: what is made, in which order, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from skrkit.sandbox import applications
from tests.sandbox.arm.templates.deploying import (
    ADDRESS,
    API,
    GROUP,
    NESTED,
    NSG,
    Deployer,
    nested,
    nsg,
    properties,
    template,
)
from tests.sandbox.vault.azure import OPERATOR, STRANGER, SUBSCRIPTION, TENANT, error_of

VAULT = {
    "type": "Microsoft.KeyVault/vaults",
    "apiVersion": "2023-07-01",
    "name": "[parameters('vault')]",
    "location": "[resourceGroup().location]",
    "properties": {
        "tenantId": "[subscription().tenantId]",
        "sku": {"family": "A", "name": "premium"},
        "accessPolicies": [],
        "enableRbacAuthorization": "[parameters('rbac')]",
    },
}
PARAMETERS = {"vault": {"type": "string"}, "rbac": {"type": "bool", "defaultValue": False}}


def known_stranger(deployer: Deployer) -> None:
    """Make the directory know of a principal that has no role."""
    document = {"oid": STRANGER.oid, "appid": STRANGER.appid, "name": "stranger", "secret_sha256": ""}
    deployer.azure.world.store.put(applications.APPLICATION_KIND, STRANGER.appid, document)


def failure(deployer: Deployer, body: dict[str, Any], **parameters: Any) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        deployer.deploy(body, **parameters)
    return caught.value


def message(deployer: Deployer, body: dict[str, Any], **parameters: Any) -> str:
    error = failure(deployer, body, **parameters)
    assert error.status_code == 400
    assert error.error is not None
    assert error.error.code == "InvalidTemplate"
    assert deployer.names() == []
    return str(error.error.message)


def test_resources_are_made_in_the_order_of_their_dependencies(deployer: Deployer) -> None:
    body = template(
        nsg("last", dependsOn=["middle"]),
        nsg("middle", dependsOn=[f"[resourceId('{NSG}', 'first')]"]),
        nsg("first"),
        nsg("also", dependsOn=[f"[concat('{NSG}/', 'middle')]"]),
    )
    done = deployer.deploy(body)
    assert (done["provisioningState"], done["mode"]) == ("Succeeded", "Incremental")
    order = deployer.order()
    assert order[:2] == ["first", "middle"]
    assert sorted(order[2:]) == ["also", "last"]
    assert {one["id"].rpartition("/")[2] for one in done["outputResources"]} == {"first", "middle", "last", "also"}
    (first, *_), named = done["dependencies"], [one["resourceName"] for one in done["dependencies"]]
    assert named == ["middle", "last", "also"]
    assert first["dependsOn"][0]["id"] == f"{GROUP}/providers/{NSG}/first"
    assert [one.name for one in deployer.client.deployments.list_by_resource_group("rg")] == ["d"]


def test_reference_without_a_version_is_a_dependency_by_itself(deployer: Deployer) -> None:
    address = {"type": ADDRESS, "apiVersion": API, "name": "ip", "location": "westeurope",
               "properties": {"dnsSettings": {"domainNameLabel": "label"}}}  # fmt: skip
    tagged = nsg("tagged", tags={"host": "[reference('ip').dnsSettings.fqdn]"})
    full = nsg("full", tags={"place": f"[reference(resourceId('{ADDRESS}', 'ip'), '{API}', 'Full').location]"},
               dependsOn=["ip"])  # fmt: skip
    deployer.deploy(template(tagged, full, address))
    assert deployer.order()[0] == "ip"
    assert deployer.read(NSG, "tagged")["tags"] == {"host": "label.westeurope.cloudapp.azure.com"}
    assert deployer.read(NSG, "full")["tags"] == {"place": "westeurope"}


def test_loops_of_resources_properties_variables_and_outputs(deployer: Deployer) -> None:
    rules = {"name": "securityRules", "count": "[length(variables('ports'))]", "input": {
        "name": "[format('{0}-{1}', copyIndex(), copyIndex('securityRules', 1))]",
        "properties": {"priority": "[add(100, copyIndex('securityRules'))]", "direction": "Inbound",
                       "destinationPortRange": "[variables('ports')[copyIndex('securityRules')]]"}}}  # fmt: skip
    body = template(
        nsg("[concat('nsg', copyIndex(1))]", copy={"name": "groups", "count": 3, "mode": "serial", "batchSize": 1},
            properties={"copy": [rules]}),
        nsg("after", dependsOn=["groups"]),
        variables={"copy": [{"name": "ports", "count": 2, "input": "[string(add(22, copyIndex('ports')))]"}],
                   "inner": {"copy": [{"name": "list", "count": 2, "input": "[copyIndex('list')]"}]}},
        outputs={
            "names": {"type": "array", "copy": {"count": 3, "input": "[concat('nsg', copyIndex(1))]"}},
            "list": {"type": "array", "value": "[variables('inner').list]"},
            "none": {"type": "string", "condition": False, "value": "[reference('nothing').x]"},
        },
    )  # fmt: skip
    outputs = deployer.outputs(body)
    assert deployer.names() == ["after", "nsg1", "nsg2", "nsg3"]
    assert deployer.order()[-1] == "after"
    made = deployer.read(NSG, "nsg2")["properties"]["securityRules"]
    assert [(rule["name"], rule["properties"]["destinationPortRange"]) for rule in made] == [
        ("1-1", "22"),
        ("1-2", "23"),
    ]
    assert outputs == {"names": ["nsg1", "nsg2", "nsg3"], "list": [0, 1]}


def test_conditions_leave_a_resource_out_and_its_dependants_in(deployer: Deployer) -> None:
    body = template(
        nsg("off", condition="[parameters('wanted')]"),
        nsg("on", condition="[not(parameters('wanted'))]", dependsOn=["off"]),
        parameters={"wanted": {"type": "bool"}},
        outputs={"text": {"type": "string", "value": "[if(parameters('wanted'), reference('off').x, 'without')]"}},
    )
    assert deployer.outputs(body, wanted=False) == {"text": "without"}
    assert deployer.names() == ["on"]


def test_children_are_named_by_their_parents(deployer: Deployer) -> None:
    subnet = {"type": "subnets", "apiVersion": API, "name": "child", "dependsOn": ["net"],
              "properties": {"addressPrefix": "10.0.1.0/24"}}  # fmt: skip
    other = {"type": "Microsoft.Network/virtualNetworks/subnets", "apiVersion": API, "name": "net/sibling",
             "dependsOn": ["[resourceId('Microsoft.Network/virtualNetworks/subnets', 'net', 'child')]"],
             "properties": {"addressPrefix": "10.0.2.0/24"}}  # fmt: skip
    net = {"type": "Microsoft.Network/virtualNetworks", "apiVersion": API, "name": "net", "location": "westeurope",
           "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}, "resources": [subnet]}  # fmt: skip
    deployer.deploy(template(other, net))
    assert deployer.order() == ["net", "net/child", "net/sibling"]
    made = deployer.read("Microsoft.Network/virtualNetworks", "net")["properties"]["subnets"]
    assert [one["name"] for one in made] == ["child", "sibling"]


def test_a_nested_template_sees_its_own_parameters_in_inner_scope_and_the_outer_ones_otherwise(
    deployer: Deployer,
) -> None:
    inner = template(
        nsg("[parameters('called')]"),
        parameters={"called": {"type": "string"}},
        outputs={"id": {"type": "string", "value": f"[resourceId('{NSG}', parameters('called'))]"}},
    )
    given = {"called": {"value": "of-inner"}}
    body = template(
        nested("inside", inner, scope="inner", parameters=given),
        nested("outside", template(nsg("[parameters('called')]"))),
        parameters={"called": {"type": "string"}},
        outputs={"id": {"type": "string", "value": "[reference('inside').outputs.id.value]"}},
    )
    assert deployer.outputs(body, called="of-outer") == {"id": f"{GROUP}/providers/{NSG}/of-inner"}
    assert deployer.names() == ["of-inner", "of-outer"]
    assert deployer.order("inside") == ["of-inner"]
    listed = sorted(str(one.name) for one in deployer.client.deployments.list_by_resource_group("rg"))
    assert listed == ["d", "inside", "outside"]


def test_a_subscription_is_deployed_to_with_a_group_and_what_is_in_it(deployer: Deployer) -> None:
    group = {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": "other",
             "location": "northeurope"}  # fmt: skip
    inside = "resourceId('other', 'Microsoft.Resources/deployments', 'inside')"
    inner = template(nsg("in-it"), outputs={"where": {"type": "string", "value": "[resourceGroup().location]"}})
    body = template(
        group,
        nested("inside", inner, scope="inner", resourceGroup="other",
               dependsOn=["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'other')]"]),
        outputs={"where": {"type": "string", "value": f"[reference({inside}, '2022-09-01').outputs.where.value]"}},
    )  # fmt: skip
    given: Any = properties(body) | {"location": "westeurope"}
    poller = deployer.client.deployments.begin_create_or_update_at_subscription_scope("s", given)
    done = poller.result().as_dict()["properties"]
    assert done["outputs"]["where"]["value"] == "northeurope"
    listed = deployer.azure.arm(
        "GET", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other/resources?api-version={API}"
    )
    assert [one["name"] for one in listed.json()["value"]] == ["in-it"]


def test_symbolic_names_and_existing_resources(deployer: Deployer) -> None:
    deployer.deploy(template(nsg("known", tags={"a": "b"})))
    body = template() | {
        "languageVersion": "2.0",
        "resources": {
            "known": {"existing": True, "type": NSG, "apiVersion": API, "name": "known"},
            "made": nsg("made", dependsOn=["known"], tags={"of": f"[reference('known', '{API}', 'full').tags.a]"}),
        },
    }
    deployer.deploy(body)
    assert deployer.read(NSG, "made")["tags"] == {"of": "b"}


def test_a_role_is_assigned_at_the_scope_of_a_vault(deployer: Deployer) -> None:
    known_stranger(deployer)
    role = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
    definition = f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{role}')]"
    assignment = {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "scope": "[format('Microsoft.KeyVault/vaults/{0}', parameters('vault'))]",
        "name": f"[guid(resourceId('Microsoft.KeyVault/vaults', parameters('vault')), '{STRANGER.oid}', '{role}')]",
        "properties": {
            "roleDefinitionId": definition,
            "principalId": STRANGER.oid,
            "principalType": "ServicePrincipal",
        },
        "dependsOn": ["[resourceId('Microsoft.KeyVault/vaults', parameters('vault'))]"],
    }
    deployer.deploy(template(assignment, VAULT, parameters=PARAMETERS), vault="roles-vault", rbac=True)
    scope = f"{GROUP}/providers/Microsoft.KeyVault/vaults/roles-vault"
    query = f"$filter=principalId eq '{STRANGER.oid}'&api-version=2022-04-01"
    found = deployer.azure.arm("GET", f"{scope}/providers/Microsoft.Authorization/roleAssignments?{query}").json()
    assert [one["properties"]["scope"].lower() for one in found["value"]] == [scope.lower()]


def test_secure_parameters_and_outputs_are_never_shown(deployer: Deployer) -> None:
    secret = "correct horse battery staple"
    body = template(
        nsg("one"),
        parameters={"word": {"type": "secureString"}, "whole": {"type": "secureObject", "defaultValue": {"x": secret}}},
        outputs={"word": {"type": "secureString", "value": "[parameters('word')]"},
                 "about": {"type": "object", "value": "[deployment()]"}},
    )  # fmt: skip
    done = deployer.deploy(body, word=secret)
    assert done["parameters"] == {"word": {"type": "SecureString"}, "whole": {"type": "SecureObject"}}
    assert done["outputs"]["word"] == {"type": "SecureString"}
    assert secret not in json.dumps({k: v for k, v in done.items() if k != "outputs"})
    assert "word" not in done["outputs"]["about"]["value"]["properties"]["parameters"]
    tagged = template(nsg("one", tags={"t": "[parameters('word')]"}), parameters={"word": {"type": "secureString"}})
    assert secret not in json.dumps(deployer.what_if(tagged, word=secret))
    limited = {"word": {"type": "secureString", "maxLength": 3}}
    error = failure(deployer, template(parameters=limited), word=secret)
    assert secret not in str(error)
    assert "*******" in str(error)


@pytest.mark.parametrize(
    ("declared", "given", "words"),
    [
        ({"type": "string"}, {},
         "The value for the template parameter 'p' is not provided. Please see https://aka.ms/arm-create-"),
        ({"type": "int"}, {"p": "1"}, "parameter JToken type is not valid. Expected 'Integer'. Actual 'String'."),
        ({"type": "bool"}, {"p": 1}, "Expected 'Boolean'. Actual 'Integer'."),
        ({"type": "int"}, {"p": True}, "Expected 'Integer'. Actual 'Boolean'."),
        ({"type": "string", "allowedValues": ["a", "b"]}, {"p": "c"},
         "The value 'c' is not part of the allowed value(s): 'a,b'."),
        ({"type": "string", "minLength": 3}, {"p": "ab"}, "'3'"),
        ({"type": "int", "maxValue": 3}, {"p": 4}, "'3'"),
        ({"type": "string"}, {"p": "x", "q": "y"},
         "The template parameters 'q' in the parameters file are not valid; they are not present in the original"),
        ({"type": "text"}, {"p": "x"}, "is not valid"),
    ],
)  # fmt: skip
def test_a_parameter_is_held_against_its_declaration(
    deployer: Deployer, declared: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    found = message(deployer, template(nsg("one"), parameters={"p": declared}), **given)
    assert found.startswith("Deployment template validation failed: '")
    assert words in found


def test_a_default_may_use_a_parameter_that_is_declared_later(deployer: Deployer) -> None:
    declared = {
        "a": {"type": "string", "defaultValue": "[concat(parameters('b'), '-x')]"},
        "b": {"type": "string", "defaultValue": "[toLower(resourceGroup().name)]"},
        "c": {"type": "string", "defaultValue": "[utcNow('yyyy')]"},
    }
    body = template(parameters=declared, outputs={"a": {"type": "string", "value": "[parameters('a')]"},
                                                  "c": {"type": "string", "value": "[parameters('c')]"}})  # fmt: skip
    assert deployer.outputs(body) == {"a": "rg-x", "c": "2026"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (template(nsg("a", tags={"t": "[nothingLikeIt()]"})),
         "The template resource 'a' is not valid: The template function 'nothingLikeIt' is not valid."),
        (template(outputs={"o": {"type": "string", "value": "[foo.bar()]"}}), "The template function 'foo.bar'"),
        (template(nsg("a", dependsOn=["b"]), nsg("b", dependsOn=["a"])),
         "Circular dependency detected on resource: '/subscriptions/"),
        (template(nsg("a", dependsOn=["[resourceId('" + NSG + "', 'a')]"])), "Circular dependency detected"),
        (template(nsg("a", dependsOn=["zz"])), "The resource 'zz' is not defined in the template."),
        (template(nsg("a"), nsg("a")), "is defined multiple times in a template."),
        (template(nsg("a/b")), "The template resource 'a/b' for type '" + NSG + "' has incorrect segment lengths."),
        (template(nsg("[reference('x').y]")),
         "The template function 'reference' is not expected at this location."),
        (template(nsg("a", copy={"name": "c", "count": 801})), "The copy count must be an integer of 0 to 800"),
        (template(nsg("[variables('v')]"), variables={"v": "[variables('w')]", "w": "[variables('v')]"}),
         "Circular reference detected for the template variable"),
        ({"resources": []}, "Required property 'contentVersion' not found in JSON."),
        (template(parameters={f"p{i}": {"type": "int", "defaultValue": 1} for i in range(257)}),
         "Limit: '256' and actual: '257'."),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_is_refused_before_anything_is_made(
    deployer: Deployer, body: dict[str, Any], words: str
) -> None:
    assert words in message(deployer, body)


def test_what_fails_is_said_and_what_is_independent_is_made(deployer: Deployer) -> None:
    broken = nsg("broken", properties={"securityRules": [{"name": "r", "properties": {"priority": 1}}]})
    body = template(broken, nsg("dependent", dependsOn=["broken"]), nsg("independent"),
                    outputs={"o": {"type": "string", "value": "x"}})  # fmt: skip
    error = failure(deployer, body)
    assert error.error is not None
    assert (error.status_code, error.error.code) == (200, "DeploymentFailed")
    assert str(error.error.message).startswith("At least one resource deployment operation failed.")
    assert [str(one.code) for one in error.error.details] == ["SecurityRuleInvalidPriority"]
    assert deployer.names() == ["independent"]
    done = deployer.client.deployments.get("rg", "d").as_dict()["properties"]
    assert done["provisioningState"] == "Failed"
    assert done["error"]["details"][0]["code"] == "SecurityRuleInvalidPriority"
    assert "outputs" not in done
    states = {
        one["properties"]["targetResource"]["resourceName"]: one["properties"]
        for one in (listed.as_dict() for listed in deployer.client.deployment_operations.list("rg", "d"))
    }
    assert set(states) == {"broken", "independent"}
    assert (states["broken"]["provisioningState"], states["broken"]["statusCode"]) == ("Failed", "BadRequest")
    assert states["broken"]["statusMessage"]["error"]["code"] == "SecurityRuleInvalidPriority"


def test_an_expression_without_a_value_fails_its_own_resource_or_output(deployer: Deployer) -> None:
    body = template(nsg("a", tags={"t": "[resourceGroup().nothing]"}))
    error = failure(deployer, body)
    assert error.error is not None
    assert [str(one.code) for one in error.error.details] == ["InvalidTemplate"]
    assert str(error.error.details[0].message).startswith(
        f"Unable to process template language expressions for resource '{GROUP}/providers/{NSG}/a'. 'The language "
        "expression property 'nothing' doesn't exist, available properties are '"
    )
    error = failure(deployer, template(nsg("a"), outputs={"o": {"type": "int", "value": "[reference('a').x]"}}))
    assert error.error is not None
    assert [str(one.code) for one in error.error.details] == ["DeploymentOutputEvaluationFailed"]
    assert deployer.names() == ["a"]


def test_a_failure_in_a_nested_template_is_its_details(deployer: Deployer) -> None:
    broken = nsg("broken", properties={"securityRules": [{"name": "r", "properties": {"priority": 1}}]})
    error = failure(deployer, template(nested("inside", template(broken), scope="inner")))
    assert error.error is not None
    outer = error.error.details[0]
    assert str(outer.code) == "DeploymentFailed"
    assert [str(one.code) for one in outer.details] == ["SecurityRuleInvalidPriority"]


def test_complete_mode_deletes_what_is_not_in_the_template(deployer: Deployer) -> None:
    deployer.deploy(template(nsg("kept"), nsg("gone")))
    assert deployer.what_if(template(nsg("kept")), mode="Complete")["gone"]["changeType"] == "Delete"
    assert deployer.names() == ["gone", "kept"]
    deployer.deploy(template(nsg("kept")), mode="Complete")
    assert deployer.names() == ["kept"]


def test_what_if_tells_new_from_changed_and_changes_nothing(deployer: Deployer) -> None:
    deployer.deploy(template(nsg("same", tags={"a": "b"}), nsg("changed", tags={"a": "b"}), nsg("other")))
    body = template(nsg("same", tags={"a": "b"}), nsg("changed", tags={"a": "c", "n": "e"}), nsg("new"))
    found = deployer.what_if(body)
    kinds = {name: change["changeType"] for name, change in found.items()}
    assert kinds == {"same": "NoChange", "changed": "Modify", "new": "Create", "other": "Ignore"}
    delta = found["changed"]["delta"]
    told = [(one["path"], one["propertyChangeType"], one.get("before"), one["after"]) for one in delta]
    assert told == [("tags.a", "Modify", "b", "c"), ("tags.n", "Create", None, "e")]
    assert found["new"]["after"]["name"] == "new"
    assert deployer.names() == ["changed", "other", "same"]
    only: Any = properties(body)
    only["properties"]["whatIfSettings"] = {"resultFormat": "ResourceIdOnly"}
    answer = deployer.client.deployments.begin_what_if("rg", "d", only).result().as_dict()
    kinds = {one["resourceId"].rpartition("/")[2]: one["changeType"] for one in answer["properties"]["changes"]}
    assert kinds == {"same": "Deploy", "changed": "Deploy", "new": "Deploy", "other": "Ignore"}


def test_what_if_says_of_a_reference_that_it_changes_as_documented(deployer: Deployer) -> None:
    body = template(nsg("a"), nsg("b", tags={"of": "[reference('a').provisioningState]"}))
    deployer.deploy(body)
    change = deployer.what_if(body)["b"]
    assert change["changeType"] == "Modify"
    assert change["delta"][0]["after"] == "[reference('a').provisioningState]"


def test_validate_makes_nothing_and_refuses_as_a_deployment_does(deployer: Deployer) -> None:
    given: Any = properties(template(nsg("a")))
    answer = deployer.client.deployments.begin_validate("rg", "d", given).result().as_dict()
    assert [one["id"] for one in answer["properties"]["validatedResources"]] == [f"{GROUP}/providers/{NSG}/a"]
    assert deployer.names() == []
    path = f"{GROUP}/providers/{NESTED}/d/validate?api-version={API}"
    refused = deployer.azure.arm("POST", path, properties(template(nsg("a", dependsOn=["b"]))))
    assert error_of(refused)[:2] == (400, "InvalidTemplate")


def test_what_the_sandbox_does_not_have_is_said_before_anything_is_made(deployer: Deployer) -> None:
    plan = {"type": "Microsoft.Web/serverfarms", "apiVersion": API, "name": "p", "location": "westeurope"}
    error = failure(deployer, template(nsg("a"), plan))
    assert (error.status_code, error.error and error.error.code) == (501, "NotInSandbox")
    linked: Any = {"properties": {"mode": "Incremental", "templateLink": {"uri": "https://example.org/t.json"}}}
    with pytest.raises(HttpResponseError) as caught:
        deployer.client.deployments.begin_create_or_update("rg", "d", linked)
    assert caught.value.status_code == 501
    assert deployer.names() == []


def test_a_deployment_that_is_deleted_leaves_its_resources(deployer: Deployer) -> None:
    deployer.deploy(template(nsg("a")))
    assert deployer.client.deployments.check_existence("rg", "d")
    deployer.client.deployments.begin_delete("rg", "d").wait()
    assert not deployer.client.deployments.check_existence("rg", "d")
    with pytest.raises(ResourceNotFoundError, match="DeploymentNotFound"):
        deployer.client.deployments.get("rg", "d")
    assert deployer.names() == ["a"]


def test_a_group_takes_its_networks_and_deployments_along(deployer: Deployer) -> None:
    deployer.deploy(template(nsg("a")))
    path = f"/subscriptions/{SUBSCRIPTION}/resourcegroups/rg?api-version=2025-04-01"
    assert deployer.azure.arm("DELETE", path).status_code == 202
    deployer.azure.make_group()
    assert deployer.names() == []
    assert list(deployer.client.deployments.list_by_resource_group("rg")) == []


def test_nobody_deploys_what_they_may_not_make(deployer: Deployer) -> None:
    known_stranger(deployer)
    path = f"{GROUP}/providers/{NESTED}/d?api-version={API}"
    refused = deployer.azure.arm("PUT", path, properties(template(nsg("a"))), principal=STRANGER)
    assert error_of(refused)[:2] == (403, "AuthorizationFailed")
    role = {"properties": {"principalId": STRANGER.oid, "principalType": "ServicePrincipal", "roleDefinitionId":
            f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
            "9980e02c-c2be-4d73-94e8-173b1dc7cf3c"}}  # fmt: skip  # Virtual Machine Contributor: it may deploy
    assigned = deployer.azure.arm(
        "PUT",
        f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/{OPERATOR.oid}?api-version=2022-04-01",
        role,
    )
    assert assigned.status_code == 201, assigned.text
    body = template(VAULT | {"name": "some-vault"}, parameters=PARAMETERS)
    refused = deployer.azure.arm("PUT", path, properties(body, vault="x"), principal=STRANGER)
    assert error_of(refused)[:2] == (403, "InvalidTemplateDeployment")
    assert (
        "Authorization failed for template resource 'some-vault' of type 'Microsoft.KeyVault/vaults'." in refused.text
    )
    assert "Microsoft.KeyVault/vaults/write" in refused.text
    assert TENANT not in refused.text
    assert deployer.names() == []


def test_user_defined_functions_see_their_arguments_alone(deployer: Deployer) -> None:
    function = {"parameters": [{"name": "p", "type": "string"}],
                "output": {"type": "string", "value": "[concat('kv-', toLower(parameters('p')))]"}}  # fmt: skip
    body = template(
        functions=[{"namespace": "own", "members": {"named": function}}],
        outputs={"o": {"type": "string", "value": "[own.named('ABC')]"}},
    )
    assert deployer.outputs(body) == {"o": "kv-abc"}


def test_texts_for_booleans_and_names_in_another_case_are_taken_as_published_templates_have_them(
    deployer: Deployer,
) -> None:
    net = {"type": "Microsoft.Network/virtualNetworks", "apiVersion": API, "name": "[variables('net')]",
           "location": "[resourceGroup().location]",
           "properties": {"addressSpace": {"addressPrefixes": ["10.1.16.0/24"]},
                          "subnets": [{"name": "s", "properties": {"addressPrefix": "10.1.16.0/24"}}]}}  # fmt: skip
    address = {"type": ADDRESS, "apiVersion": API, "name": "ip", "location": "westeurope", "sku": {"name": "Basic"},
               "properties": {"publicIpAllocationMethod": "Dynamic"}}  # fmt: skip
    part = {"subnet": {"id": "[concat(variables('netId'), '/subnets/s')]"},
            "publicIpAddress": {"id": "[resourceId('Microsoft.Network/publicIpAddresses', 'ip')]"}}  # fmt: skip
    nic = {"type": "Microsoft.Network/networkInterfaces", "apiVersion": API, "name": "nic", "location": "westeurope",
           "dependsOn": ["[concat('Microsoft.Network/virtualNetworks/', variables('NET'))]",
                         "Microsoft.Network/publicIpAddresses/ip"],
           "properties": {"ipConfigurations": [{"name": "n", "properties": part}]}}  # fmt: skip
    machine = {
        "type": "Microsoft.Compute/virtualMachines", "apiVersion": "2021-07-01", "name": "vm", "location": "westeurope",
        "dependsOn": ["Microsoft.Network/networkInterfaces/nic"],
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_DC2as_v5"},
            "securityProfile": {"securityType": "ConfidentialVM",
                                "uefiSettings": {"secureBootEnabled": "true", "vTpmEnabled": "true"}},
            "storageProfile": {"osDisk": {"createOption": "fromImage", "managedDisk": {
                "securityProfile": {"securityEncryptionType": "DiskWithVMGuestState"}}}},
            "osProfile": {"adminPassword": "[parameters('word')]", "linuxConfiguration": "[json('null')]"},
            "networkProfile": {"networkInterfaces": [{"id": "[variables('nicId')]"}]},
        },
    }  # fmt: skip
    body = template(
        machine, nic, net, address,
        parameters={"word": {"type": "securestring"}},
        variables={"net": "net", "nicId": "[resourceId('Microsoft.Network/networkInterfaces', 'nic')]",
                   "netId": "[resourceId(resourceGroup().name, 'Microsoft.Network/virtualNetworks', 'net')]"},
    )  # fmt: skip
    assert deployer.deploy(body, word="secret")["provisioningState"] == "Succeeded"
    assert deployer.order()[-2:] == ["nic", "vm"]
    shown = deployer.read("Microsoft.Compute/virtualMachines", "vm")["properties"]
    assert shown["securityProfile"]["uefiSettings"] == {"secureBootEnabled": True, "vTpmEnabled": True}
    assert "secret" not in json.dumps(shown)
    inside = deployer.read("Microsoft.Network/networkInterfaces", "nic")["properties"]["ipConfigurations"][0]
    assert inside["properties"]["publicIPAddress"]["id"].lower().endswith("/publicipaddresses/ip")
    assert deployer.read(ADDRESS, "ip")["properties"]["publicIPAllocationMethod"] == "Dynamic"
    kinds = {name: change["changeType"] for name, change in deployer.what_if(body, word="secret").items()}
    assert kinds == {"vm": "NoChange", "nic": "NoChange", "net": "NoChange", "ip": "NoChange"}


def test_a_version_that_is_no_day_is_refused_in_a_template_too(deployer: Deployer) -> None:
    with pytest.raises(HttpResponseError) as refused:
        deployer.deploy(template(nsg("odd", apiVersion="2024-5-01")))
    assert "The api-version '2024-5-01' is invalid." in str(refused.value)
    assert "odd" not in deployer.names()
