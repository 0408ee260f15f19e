// Runs node-oidc-provider: server.js HOST:PORT REDIRECT_URI.
//
// It keeps all records in its default adapter, which is memory. Everything else is as its
// documentation says for production: keys of its own, and an interaction of its own. This one signs
// in whoever comes, and consents once: what is measured begins with a session.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [address, redirectURI] = process.argv.slice(2);
const issuer = `http://${address}`;
const api = 'https://orders.example.com';
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'service', client_secret: 'service-secret', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256',
    },
    {
      client_id: 'web', client_secret: 'web-secret', grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [redirectURI], response_types: ['code'], id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256', kid: 'es256' }] },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // A refresh token without offline_access, which ends with the session.
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 1209600, IdToken: 600, Interaction: 3600, RefreshToken: 86400, Session: 1209600, ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => api,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'orders:read', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
  scopes: ['openid'],
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) {
    return next();
  }
  const { prompt: { name, details }, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (name === 'login') {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'alice' } });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) {
    grant.addOIDCScope(details.missingOIDCScope.join(' '));
  }
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } });
});
provider.on('server_error', (ctx, error) => console.error(error));

const [host, port] = address.split(':');
provider.listen(Number(port), host);
