// node check_bundle.mjs BUNDLE PEM HINT: verify with stock @sigstore/bundle and @sigstore/verify of the working directory.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createPublicKey } from 'node:crypto';

const require = createRequire(process.cwd() + '/');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const [file, pem, hint] = process.argv.slice(2);
const rawBytes = createPublicKey(readFileSync(pem)).export({ type: 'spki', format: 'der' });
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
const verifier = new Verifier(toTrustMaterial(root, { [hint]: { rawBytes } }), thresholds);
verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(file, 'utf8')))));
console.log('verified');
