// node javascript.mjs STAGE: make every call of `javascript.py` with @huggingface/hub of the working directory.
// STAGE is a JSON file; the last line printed is JSON: the version, and what came of each call.
import { createRequire } from 'node:module';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

const require = createRequire(process.cwd() + '/');
const hub = require('@huggingface/hub');
const { version } = JSON.parse(readFileSync('node_modules/@huggingface/hub/package.json', 'utf8'));
const stage = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const RELEASED = stage.released, SMALL = 'radboud/small', HIDDEN = 'radboud/hidden', TENSORS = stage.embedding;
const [NAMESPACE] = RELEASED.split('/');
const as = (accessToken, more) => ({ hubUrl: stage.endpoint, ...(accessToken && { accessToken }), ...more });
const alice = (more) => as(stage.tokens.alice, more);
const nobody = (more) => as(undefined, more);
const released = (more) => nobody({ repo: RELEASED, ...more });
const small = (more) => alice({ repo: SMALL, ...more });
const all = async (found) => { const list = []; for await (const one of found) list.push(one); return list; };
const text = (words) => new Blob([words]);
const file = (path, words) => ({ path, content: text(words) });
const walk = (folder) => readdirSync(folder, { withFileTypes: true, recursive: true })
  .filter((entry) => !entry.isDirectory()).map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
const bytes = (path) => readFileSync(join(stage.release, path));
const same = async (blob, path) => Buffer.from(await blob.arrayBuffer()).equals(bytes(path));
const paths = async (asked) => (await all(hub.listFiles(asked))).map((one) => one.path).sort();
const read = async (path) => (await hub.downloadFile(small({ path }))).text();
const firstCommit = async () => (await hub.modelInfo(nobody({ name: RELEASED, additionalFields: ['sha'] }))).sha;

const calls = {
  whoAmI: async () => {
    const who = await hub.whoAmI(alice());
    return [who.name, who.type, who.orgs.map((org) => org.name), who.auth.accessToken.role];
  },
  'whoAmI with a token that is no good': () => hub.whoAmI(as('hf_emb_' + 'A'.repeat(43))),
  createRepo: async () => [
    (await hub.createRepo(alice({ repo: RELEASED }))).repoUrl, (await hub.createRepo(small())).repoUrl,
  ],
  'createRepo, twice': () => hub.createRepo(small()),
  'createRepo(private)': async () => {
    await hub.createRepo(alice({ repo: HIDDEN, private: true }));
    return [await hub.repoExists(alice({ repo: HIDDEN })), await hub.repoExists(nobody({ repo: HIDDEN }))];
  },
  'createRepo(files)': () => hub.createRepo(
    alice({ repo: 'radboud/filled', files: [{ path: 'README.md', content: text('# Soon\n') }] })),
  'createRepo(license)': () => hub.createRepo(alice({ repo: 'radboud/filled', license: 'cc-by-4.0' })),
  'createRepo of a dataset': () => hub.createRepo(alice({ repo: { type: 'dataset', name: 'radboud/images' } })),
  repoExists: async () => [await hub.repoExists(released()), await hub.repoExists(nobody({ repo: 'radboud/absent' }))],
  checkRepoAccess: () => hub.checkRepoAccess(alice({ repo: HIDDEN })),
  "checkRepoAccess to another's private repository": () => hub.checkRepoAccess(as(stage.tokens.lea, { repo: HIDDEN })),

  uploadFiles: async () => {
    const files = walk(stage.release).map((path) => ({ path, content: new Blob([bytes(path)]) }));
    const done = await hub.uploadFiles(alice({ repo: RELEASED, files, commitTitle: 'First release' }));
    return done.commit.url === `${stage.endpoint}/${RELEASED}/commit/${done.commit.oid}`;
  },
  uploadFile: async () => {
    await hub.uploadFile(small({ file: file('README.md', '# Soon\n') }));
    return read('README.md');
  },
  uploadFilesWithProgress: async () => {
    const events = hub.uploadFilesWithProgress(small({ files: [file('README.md', '# Sooner\n')] }));
    const phases = [];
    for await (const event of events) if (event.event === 'phase') phases.push(event.phase);
    return [phases, await read('README.md')];
  },
  'commit(parentCommit) that edits and adds': async () => {
    const [newest] = await all(hub.listCommits(small()));
    const original = await hub.downloadFile(small({ path: 'README.md' }));
    const edits = [{ start: 2, end: 8, content: text('Later') }];
    await hub.commit(small({
      title: 'Later', description: 'More words', parentCommit: newest.oid,
      operations: [
        { operation: 'edit', path: 'README.md', originalContent: original, edits },
        { operation: 'addOrUpdate', ...file('.gitattributes', '*.json text\n') },
      ],
    }));
    return [await read('README.md'), await paths(small())];
  },
  'commit on a stale parent': async () => {
    const commits = await all(hub.listCommits(small()));
    const operations = [{ operation: 'addOrUpdate', ...file('README.md', '# Late\n') }];
    await hub.commit(small({ title: 'Late', parentCommit: commits.at(-1).oid, operations }));
  },
  'commit(isPullRequest)': () => hub.uploadFile(small({ file: file('README.md', '# Asked\n'), isPullRequest: true })),
  'uploadFile of a pickle': () => hub.uploadFile(small({ file: file('model.bin', '\x80\x04K\x01.') })),
  'uploadFile by another namespace': () => hub.uploadFile(
    as(stage.tokens.lea, { repo: SMALL, file: file('README.md', '# Theirs\n') })),
  deleteFile: async () => { await hub.deleteFile(small({ path: '.gitattributes' })); return paths(small()); },
  deleteFiles: async () => { await hub.deleteFiles(small({ paths: ['README.md'] })); return paths(small()); },

  modelInfo: async () => {
    const { name, task, private: hidden, gated, updatedAt } = await hub.modelInfo(nobody({ name: RELEASED }));
    return { name, task, hidden, gated, dated: updatedAt > new Date(0) };
  },
  'modelInfo(revision, additionalFields)': async () => {
    const revision = await firstCommit();
    const fields = { additionalFields: ['sha', 'filePaths', 'author', 'library_name'] };
    const found = await hub.modelInfo(nobody({ name: RELEASED, revision, ...fields }));
    return [found.sha === revision, found.filePaths, found.author, found.library_name];
  },
  'modelInfo of a missing repository': () => hub.modelInfo(nobody({ name: 'radboud/absent' })),
  listFiles: () => paths(released()),
  'listFiles(path, recursive, expand)': async () => {
    const found = await all(hub.listFiles(released({ path: 'attestations', recursive: true, expand: true })));
    return found.map((one) => [one.path, one.lastCommit.title]).sort();
  },
  pathsInfo: async () => {
    const found = await hub.pathsInfo(released({ paths: [TENSORS, 'attestations', 'absent'] }));
    return found.map((one) => [one.path, one.type, one.size === (one.type === 'file' ? bytes(TENSORS).length : 0)]);
  },
  'pathsInfo(expand)': async () => {
    const [found] = await hub.pathsInfo(released({ paths: [TENSORS], expand: true }));
    return found.lastCommit.title;
  },
  fileExists: async () => [
    await hub.fileExists(released({ path: TENSORS })),
    await hub.fileExists(released({ path: TENSORS, revision: await firstCommit() })),
    await hub.fileExists(released({ path: 'absent' })),
    await hub.fileExists(released({ path: TENSORS, revision: 'absent' })),
  ],
  fileDownloadInfo: async () => {
    const found = await hub.fileDownloadInfo(released({ path: TENSORS }));
    return [found.size === bytes(TENSORS).length, found.etag === `"${stage.digest}"`, found.xet ?? null];
  },
  downloadFile: async () => same(await hub.downloadFile(released({ path: TENSORS })), TENSORS),
  'downloadFile(raw)': async () => same(await hub.downloadFile(released({ path: 'audit.json', raw: true })), 'audit.json'),
  'downloadFile, a part': async () => {
    const part = (await hub.downloadFile(released({ path: TENSORS }))).slice(8, 40);
    return Buffer.from(await part.arrayBuffer()).equals(bytes(TENSORS).subarray(8, 40));
  },
  'downloadFile of a missing one': () => hub.downloadFile(released({ path: 'absent' })),
  downloadFileToCacheDir: async () => {
    const found = await hub.downloadFileToCacheDir(released({ path: TENSORS, cacheDir: join(stage.scratch, 'one') }));
    return readFileSync(found).equals(bytes(TENSORS));
  },
  snapshotDownload: async () => walk(await hub.snapshotDownload(released({ cacheDir: join(stage.scratch, 'all') }))),
  parseSafetensorsMetadata: async () => {
    const found = await hub.parseSafetensorsMetadata(released({ path: TENSORS }));
    return Object.keys(found.header).filter((name) => name !== '__metadata__');
  },

  listCommits: async () => {
    const found = await all(hub.listCommits(small({ batchSize: 2 })));
    return [found.map((one) => one.title), found[2].message, found[0].authors.map((author) => author.username)];
  },
  countCommits: async () => [await hub.countCommits(small()), await hub.countCommits(released({ revision: 'HEAD' }))],
  createBranch: async () => {
    await hub.createBranch(alice({ repo: RELEASED, branch: 'trial' }));
    return hub.fileExists(released({ path: TENSORS, revision: 'trial' }));
  },
  'createBranch, twice': () => hub.createBranch(alice({ repo: RELEASED, branch: 'trial' })),
  'createBranch(empty)': () => hub.createBranch(alice({ repo: RELEASED, branch: 'blank', empty: true })),
  deleteBranch: async () => {
    await hub.deleteBranch(alice({ repo: RELEASED, branch: 'trial' }));
    return hub.fileExists(released({ path: TENSORS, revision: 'trial' }));
  },

  listModels: async () => {
    const names = async (search) => (await all(hub.listModels(nobody({ search })))).map((one) => one.name);
    return [
      await names({ query: 'significant cancer' }), await names({ owner: 'lumc' }),
      await names({ task: 'text-to-image', tags: ['modality:MR'] }), (await names({ owner: NAMESPACE })).sort(),
    ];
  },
  'listModels(sort, limit, additionalFields)': async () => {
    const asked = { sort: 'createdAt', limit: 1, additionalFields: ['author', 'tags'] };
    return (await all(hub.listModels(nobody(asked)))).map((one) => [one.name, one.author]);
  },
  'listModels(apps)': () => all(hub.listModels(nobody({ search: { apps: ['llama.cpp'] } }))),
  'listModels(sort=num_parameters)': () => all(hub.listModels(nobody({ sort: 'num_parameters' }))),
  datasetInfo: () => hub.datasetInfo(nobody({ name: RELEASED })),
  listDatasets: () => all(hub.listDatasets(nobody())),
  spaceInfo: () => hub.spaceInfo(nobody({ name: RELEASED })),
  createCollection: () => hub.createCollection(alice({ collection: { title: 'Prostate', namespace: NAMESPACE } })),
  copyFile: () => hub.copyFile(alice({
    source: { repo: RELEASED, path: 'audit.json' },
    destination: { repo: { type: 'bucket', name: 'radboud/bucket' }, path: 'audit.json' },
  })),
  'deleteRepo of published releases': () => hub.deleteRepo(alice({ repo: RELEASED })),
  deleteRepo: async () => { await hub.deleteRepo(small()); return hub.repoExists(small()); },
};

const outcomes = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    outcomes[name] = { value: (await call()) ?? null };
  } catch (error) {
    outcomes[name] = { raised: error.constructor.name, status: error.statusCode ?? null, said: error.message };
  }
}
console.log(JSON.stringify({ version, outcomes }).replaceAll(stage.endpoint, 'REGISTRY'));
