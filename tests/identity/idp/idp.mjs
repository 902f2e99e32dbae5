// A real OpenID Provider: oidc-provider, certified by the OpenID Foundation, with one client that
// gets access tokens for itself. Of the keys in the key file the first one signs, and all are
// published; SIGHUP reads the file again. Each request is a line on standard output.
//   node idp.mjs PORT KEYS.json
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, file] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const RESOURCE = 'urn:inhouse';

function provider() {
  const jwks = JSON.parse(readFileSync(file));
  return new Provider(issuer, {
    jwks,
    clients: [{
      client_id: 'batch', client_secret: 'known-to-the-test-alone-and-long-enough',
      grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
      id_token_signed_response_alg: jwks.keys[0].alg,
    }],
    ttl: { ClientCredentials: 300 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'chat', audience: 'inhouse', accessTokenFormat: 'jwt',
          jwt: { sign: { alg: jwks.keys[0].alg } },
        }),
      },
    },
    extraTokenClaims: () => ({ roles: ['batch'], groups: ['research'] }),
  }).callback();
}

let current = provider();
process.on('SIGHUP', () => {
  current = provider();
  console.log('read');
});
http.createServer((request, response) => {
  console.log(request.method, request.url);
  current(request, response);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
