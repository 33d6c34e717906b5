-- Cases for the health script, whose path is the argument. Argo CD gives it the resource as the global `obj`.
local file = assert(io.open(arg[1]))
local source = file:read("*a")
file:close()
assert(#source > 0, "the script was not found in examples/argocd/argocd-cm.yaml")
local script = assert((loadstring or load)(source, "health"))

local failures = 0

-- Conditions are written as {type, status, reason}.
local function case(name, wanted, message, resource)
  local conditions = {}
  for _, condition in ipairs(resource.conditions or {}) do
    table.insert(conditions, {
      type = condition[1], status = condition[2], reason = condition[3], message = "words about " .. condition[1],
    })
  end
  obj = { metadata = { generation = 2 }, spec = { suspend = resource.suspend } }
  if not resource.untouched then
    obj.status = { observedGeneration = resource.observed or 2, conditions = conditions }
  end
  local health = script()
  if health.status ~= wanted or not health.message:find(message, 1, true) then
    failures = failures + 1
    print("argocd: FAILED: " .. name .. ": " .. tostring(health.status) .. ", " .. tostring(health.message))
  end
end

case("no status yet", "Progressing", "not looked", { untouched = true })
case("an old status", "Progressing", "not looked",
  { observed = 1, conditions = { { "Ready", "True", "Refreshed" }, { "ReauthRequired", "False", "GrantValid" } } })
case("a status without conditions", "Progressing", "Ready", {})
case("usable", "Healthy", "Refreshed: words about Ready",
  { conditions = { { "Ready", "True", "Refreshed" }, { "ReauthRequired", "False", "GrantValid" } } })
case("usable, and stalled", "Degraded", "InvalidClient: words about Stalled",
  { conditions = { { "Ready", "True", "Refreshed" }, { "ReauthRequired", "False", "GrantValid" }, { "Stalled", "True", "InvalidClient" } } })
case("the first exchange", "Progressing", "Progressing",
  { conditions = { { "Ready", "Unknown", "Progressing" }, { "ReauthRequired", "Unknown", "NotTried" } } })
case("in doubt", "Progressing", "RefreshInDoubt",
  { conditions = { { "Ready", "Unknown", "RefreshInDoubt" }, { "ReauthRequired", "False", "GrantValid" } } })
case("retries", "Progressing", "RefreshFailing",
  { conditions = { { "Ready", "False", "RefreshFailing" }, { "ReauthRequired", "False", "GrantValid" } } })
case("a client Secret to come", "Progressing", "ClientSecretMissing",
  { conditions = { { "Ready", "False", "ClientSecretMissing" }, { "ReauthRequired", "Unknown", "NotTried" } } })
case("nobody has consented yet", "Suspended", "NotAuthorized",
  { conditions = { { "Ready", "False", "InitialGrantMissing" }, { "ReauthRequired", "True", "NotAuthorized" } } })
case("a dead grant", "Degraded", "ReauthRequired: words about Stalled",
  { conditions = { { "Ready", "False", "ReauthRequired" }, { "ReauthRequired", "True", "GrantRefused" }, { "Stalled", "True", "ReauthRequired" } } })
case("suspended and usable", "Suspended", "Refreshed",
  { suspend = true, conditions = { { "Ready", "True", "Refreshed" }, { "ReauthRequired", "False", "GrantValid" } } })
case("suspended and expired", "Suspended", "Suspended",
  { suspend = true, conditions = { { "Ready", "False", "Suspended" }, { "ReauthRequired", "False", "GrantValid" } } })
case("suspended and stalled", "Degraded", "GrantUnreadable",
  { suspend = true, conditions = { { "Ready", "False", "GrantUnreadable" }, { "ReauthRequired", "Unknown", "NotTried" }, { "Stalled", "True", "GrantUnreadable" } } })

if failures > 0 then
  os.exit(1)
end
print("argocd: good, with " .. _VERSION)
