// A browser application without a server of its own. It signs its user in with oidc-client-ts, refreshes, and takes its tokens back. What it
// learns on the way it shows as JSON, each under an id, for the test to read.

function show(id, value) {
  const element = document.createElement('pre')
  element.id = id
  element.textContent = JSON.stringify(value)
  document.body.append(element)
}

function tokens(user) {
  return { access_token: user.access_token, refresh_token: user.refresh_token, scope: user.scope, profile: user.profile }
}

// read says whether a page of another origin gets to see an answer.
async function read(address, options) {
  try {
    const answer = await fetch(address, options)
    return `read ${answer.status}`
  } catch {
    return 'blocked'
  }
}

async function main() {
  const settings = await (await fetch('/settings.json')).json()
  const users = new oidc.UserManager({ ...settings, response_type: 'code', loadUserInfo: true, automaticSilentRenew: false })
  if (location.pathname !== '/callback') {
    await users.signinRedirect()
    return
  }
  const before = await users.signinCallback()
  show('signed-in', tokens(before))
  const after = await users.signinSilent() // by the refresh token
  show('refreshed', tokens(after))

  const form = { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'token=x' }
  show('other-endpoints', {
    introspect: await read(settings.authority + '/introspect', form),
    authorize: await read(settings.authority + '/authorize'),
    login: await read(settings.authority + '/login'),
    consent: await read(settings.authority + '/consent'),
    withCredentials: await read(settings.authority + '/jwks', { credentials: 'include' }),
    jwks: await read(settings.authority + '/jwks'),
  })

  await users.revokeTokens()
  const bearer = { headers: { Authorization: 'Bearer ' + after.access_token } }
  show('revoked', { userinfo: await read(settings.authority + '/userinfo', bearer) })
}

main().catch((error) => show('failed', String(error)))
