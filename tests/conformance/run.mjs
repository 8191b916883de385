// Runs the HTTP cache test suite against the real binary and holds every result against expected.json.
//
//   node tests/conformance/run.mjs               fails on any difference, in either direction
//   node tests/conformance/run.mjs --write       takes the results over, keeps the reasons, makes the table of README.md again
//   node tests/conformance/run.mjs --test ID     shows one test, with all that goes over the wire
//   … --through URL --origin PORT                another proxy, which passes on to that port of loopback; only tells the score
//   … --suite DIR                                another edition of the suite: a checkout, after `npm install`; only tells the score
//
// Wants a built binary (LARDER_BIN, or target/debug/larder) and what tests/run puts into target/conformance.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { run, serve } from './processes.mjs'
import { drift, isFailure, rewritten, score, table, text, unreasoned, verdicts } from './verdict.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = resolve(here, '../..')
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? 'target')
const larder = process.env.LARDER_BIN ?? join(target, 'debug/larder')
const expectedFile = join(here, 'expected.json')
const readmeFile = join(here, 'README.md')

const STARTS = 20 // seconds, for either server
const RUNS = 300 // seconds, for the suite: it takes 20 where nothing hangs

const string = { type: 'string' }
const { values: flags } = parseArgs({ options: { write: { type: 'boolean' }, test: string, suite: string, through: string, origin: string } })
const began = Date.now()
let suite

try {
  suite = layout(resolve(flags.suite ?? join(target, 'conformance/node_modules/http-cache-tests')))
  const tests = await groups()
  const { test = '' } = flags
  if (test && !tests.some(group => group.tests.some(({ id }) => id === test))) throw new Error(`no test is called ${test}`)
  const output = await ask(test)
  if (test) console.log(output)
  else act(verdicts(tests, JSON.parse(output)))
} catch (error) {
  console.error(`FAILED ${error.message}`)
  process.exit(1) // and with it what still runs
}

function act (run) {
  if (flags.suite || flags.through) tell(run)
  else if (flags.write) write(run)
  else compare(run)
}

/** Where a suite has its parts: the newest editions keep the machinery in a folder of its own. */
function layout (folder) {
  const engine = existsSync(join(folder, 'test-engine')) ? 'test-engine' : '.'
  const parts = { folder, server: join(folder, engine, 'server/server.mjs'), cli: join(folder, engine, 'cli.mjs') }
  if (!existsSync(parts.cli)) throw new Error(`no HTTP cache test suite in ${folder}`)
  return parts
}

/** What the suite's CLI prints about Larder before the suite's origin: results as JSON, or the dump of one test. */
async function ask (id) {
  const env = settings => ({ ...process.env, ...settings })
  const origin = await serve(process.execPath, [join(here, 'origin.mjs'), suite.server], {
    cwd: suite.folder,
    env: env({ npm_config_protocol: 'http', npm_config_port: flags.origin ?? '0', npm_config_pidfile: '/dev/null' }),
    ready: /Listening on (http:\S+)\//,
    within: STARTS
  })
  const proxy = flags.through ? undefined : await startLarder(origin.match[1])
  const output = await run(process.execPath, ['--no-warnings', suite.cli], {
    cwd: suite.folder,
    env: env({ npm_config_base: flags.through ?? `http://${proxy.match[1]}`, npm_config_id: id, npm_package_config_id: '' }),
    within: RUNS
  })
  const log = await proxy?.stop()
  if (log?.includes('panicked')) throw new Error(`larder panicked:\n${log}`)
  const wire = await origin.stop()
  return id ? `${wire}\n${output}` : output
}

function startLarder (upstream) {
  const config = join(root, 'config/standards.yaml')
  const listen = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0']
  return serve(larder, ['run', '--config', config, '--upstream', upstream, ...listen], {
    env: { ...process.env, NO_COLOR: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ready: /listening on ([\d.:]+)/,
    within: STARTS
  })
}

/** The suite's tests, in groups; the old edition lists one of them apart. */
async function groups () {
  const load = async file => (await import(pathToFileURL(join(suite.folder, 'tests', file)))).default
  const apart = 'surrogate-control.mjs'
  return [...await load('index.mjs'), ...existsSync(join(suite.folder, 'tests', apart)) ? [await load(apart)] : []]
}

function tell (run) {
  for (const { id, kind, result, message } of run.filter(isFailure)) console.log(`${kind} ${result}: ${id}: ${message}`)
  console.log(score(run))
}

function write (run) {
  const before = JSON.parse(readFileSync(expectedFile, 'utf8'))
  const expected = rewritten(run, before)
  for (const { id, expected: was, got, message } of drift(run, before)) console.log(`${id}: was ${was}, is ${got}. ${message}`)
  writeFileSync(expectedFile, text(expected))
  writeFileSync(readmeFile, readme(expected))
  for (const fault of unreasoned(expected)) console.log(`to be written: ${fault}`)
  console.log(score(run))
}

function compare (run) {
  const expected = JSON.parse(readFileSync(expectedFile, 'utf8'))
  const drifted = drift(run, expected).map(({ id, expected, got, message }) => `${id}: expected ${expected}, got ${got}. ${message}`)
  const faults = [...drifted, ...unreasoned(expected)]
  if (readFileSync(readmeFile, 'utf8') !== readme(expected)) faults.push('README.md: its table is not that of expected.json; --write makes it')
  for (const fault of faults) console.log(`FAILED ${fault}`)
  console.log(score(run))
  console.log(`${run.length - drifted.length} passed, ${faults.length} failed in ${((Date.now() - began) / 1000).toFixed(1)}s`)
  process.exitCode = faults.length ? 1 : 0
}

/** README.md with the table of these accepted failures between its two marks. */
function readme (expected) {
  const [before, after] = readFileSync(readmeFile, 'utf8').split(/(?<=<!-- accepted -->\n)[^]*(?=<!-- end -->)/)
  if (after === undefined) throw new Error(`${readmeFile} has lost the marks of its table`)
  return before + table(expected) + '\n' + after
}
