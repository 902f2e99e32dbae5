// A real OpenID Provider: oidc-provider, certified by the OpenID Foundation. One client gets access
// tokens for itself; others, where a file names them, log people in, with a password each. Of the
// keys in the key file the first one signs, and all are published; SIGHUP reads the file again.
// Each request is a line on standard output.
//   node idp.mjs PORT KEYS.json [CLIENTS.json]
import http from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, file, clients] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const RESOURCE = 'urn:inhouse';
const SCOPES = 'openid profile email groups offline_access';
const PEOPLE = {
  'u-anna': { user: 'anna', password: 'correct horse', name: 'Anna Ä.', groups: ['research', 'ops'] },
  'u-ben': { user: 'ben', password: 'battery staple', name: '<b>Ben</b>', groups: ['office'] },
};

async function granted(oidc, clientId, accountId) {
  const grant = new oidc.Grant({ clientId, accountId });
  grant.addOIDCScope(SCOPES);
  grant.addResourceScope(RESOURCE, 'chat');
  await grant.save();
  return grant;
}

function provider() {
  const jwks = JSON.parse(readFileSync(file));
  const alg = jwks.keys[0].alg;
  const more = clients && existsSync(clients) ? JSON.parse(readFileSync(clients)) : [];
  return new Provider(issuer, {
    jwks,
    clients: [{
      client_id: 'batch', client_secret: 'known-to-the-test-alone-and-long-enough',
      grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
      id_token_signed_response_alg: alg,
    }, ...more.map((client) => ({ id_token_signed_response_alg: alg, ...client }))],
    cookies: { keys: ['of-the-test-alone'] },
    scopes: ['openid', 'offline_access', 'chat'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'], groups: ['groups'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    ttl: {
      ClientCredentials: 300, AccessToken: Number(process.env.ACCESS_TOKEN_S ?? 300),
      IdToken: 300, Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600,
    },
    fetch: (url, { dispatcher, ...options }) => fetch(url, options), // by default it avoids loopback
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, accountId) => PEOPLE[accountId] && {
      accountId,
      claims: () => ({
        sub: accountId, name: PEOPLE[accountId].name, groups: PEOPLE[accountId].groups,
        preferred_username: PEOPLE[accountId].user, email: `${PEOPLE[accountId].user}@example.com`,
      }),
    },
    async loadExistingGrant({ oidc }) {
      const known = oidc.result?.consent?.grantId ?? oidc.session.grantIdFor(oidc.client.clientId);
      if (known) return oidc.provider.Grant.find(known);
      return granted(oidc.provider, oidc.client.clientId, oidc.session.accountId);
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'chat', audience: 'inhouse', accessTokenFormat: 'jwt', jwt: { sign: { alg } },
        }),
      },
    },
    extraTokenClaims: (_, token) => token.accountId
      ? { name: PEOPLE[token.accountId].name, groups: PEOPLE[token.accountId].groups }
      : { roles: ['batch'], groups: ['research'] },
  });
}

let current = provider();
let answer = current.callback();
process.on('SIGHUP', () => {
  current = provider();
  answer = current.callback();
  console.log('read');
});

async function interaction(request, response) {
  const asked = await current.interactionDetails(request, response);
  if (asked.prompt.name === 'consent') {
    const grant = await granted(current, asked.params.client_id, asked.session.accountId);
    return current.interactionFinished(request, response, { consent: { grantId: grant.jti } }, { mergeWithLastSubmission: true });
  }
  let body = '';
  for await (const piece of request) body += piece;
  const form = new URLSearchParams(body);
  if (form.get('give-up')) return current.interactionFinished(request, response, { error: 'access_denied', error_description: '<script>alert(1)</script>' });
  const found = Object.entries(PEOPLE).find(([, p]) => p.user === form.get('user') && p.password === form.get('password'));
  if (found) return current.interactionFinished(request, response, { login: { accountId: found[0] } });
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(`<title>Sign in</title><form method=post action="/interaction/${asked.uid}">
    <input name=user><input name=password type=password><button>Sign in</button></form>`);
}

http.createServer((request, response) => {
  console.log(request.method, request.url);
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  interaction(request, response).catch((error) => { response.statusCode = 500; response.end(String(error)); });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
