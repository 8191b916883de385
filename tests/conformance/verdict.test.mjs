// The comparison itself: a runner that lets drift pass would look just like a cache without faults.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { drift, rewritten, table, text, unreasoned, verdicts } from './verdict.mjs'

const groups = [{ tests: [{ id: 'a' }, { id: 'b', kind: 'optimal' }] }, { tests: [{ id: 'c', kind: 'check' }, { id: 'd', browser_only: true }] }]
const raw = { a: true, b: ['Assertion', 'not cached'], c: ['Assertion', ''] }
const expected = { a: { kind: 'required', result: 'pass' }, b: { kind: 'optimal', result: 'fail', reason: 'RFC' }, c: { kind: 'check', result: 'no' } }
const drifted = (raw, expected) => drift(verdicts(groups, raw), expected).map(({ id, expected, got }) => `${id}: ${expected} → ${got}`)

test('a run as expected drifts nowhere', () => assert.deepEqual(drifted(raw, expected), []))

test('worse and better are both drift', () => {
  const other = { a: ['Assertion', ''], b: true, c: true }
  assert.deepEqual(drifted(other, expected), [
    'a: required pass → required fail', 'b: optimal fail → optimal pass', 'c: check no → check yes'])
})

test('another way to fail is drift', () => {
  const ways = [['Setup', 'x'], ['Setup', 'retry'], ['AbortError', 'x'], undefined]
  const got = ways.map(way => drifted({ ...raw, b: way }, expected)[0])
  assert.deepEqual(got, ['setup', 'retry', 'harness', 'none'].map(word => `b: optimal fail → optimal ${word}`))
})

test('a test that is new, gone, unknown to its suite, or of another kind is drift', () => {
  const { b, ...without } = expected
  assert.deepEqual(drifted(raw, without), ['b: no such test → optimal fail'])
  assert.deepEqual(drifted(raw, { ...expected, e: b }), ['e: optimal fail → no such test'])
  assert.deepEqual(drifted({ ...raw, f: true }, expected), ['f: no such test → required pass'])
  assert.deepEqual(drifted(raw, { ...expected, a: { kind: 'optimal', result: 'pass' } }), ['a: optimal pass → required pass'])
})

test('a failure wants a reason, and nothing else has one', () => {
  assert.deepEqual(unreasoned(expected), [])
  for (const reason of [undefined, '', ' ']) {
    assert.equal(unreasoned({ b: { kind: 'optimal', result: 'retry', reason } }).length, 1)
  }
  assert.equal(unreasoned({ a: { kind: 'required', result: 'pass', reason: 'RFC' } }).length, 1)
  assert.equal(unreasoned({ c: { kind: 'check', result: 'no', reason: 'RFC' } }).length, 1)
})

test('rewriting takes the results and keeps the reasons that are still wanted', () => {
  assert.deepEqual(rewritten(verdicts(groups, raw), expected), expected)
  const written = rewritten(verdicts(groups, { a: ['Assertion', ''], b: true, c: true }), expected)
  assert.deepEqual(written, {
    a: { kind: 'required', result: 'fail', reason: '' }, b: { kind: 'optimal', result: 'pass' }, c: { kind: 'check', result: 'yes' } })
  assert.deepEqual(JSON.parse(text(written)), written)
})

test('the table has a row for each accepted failure', () => {
  assert.match(table(expected), /\n\| `b` \| optimal \| fail \| RFC \|$/)
  assert.doesNotMatch(table(expected), /`[ac]`/)
})

test('the lock file pins digests and names no registry', () => {
  const { packages: { '': root, ...packages } } = JSON.parse(readFileSync(new URL('package-lock.json', import.meta.url)))
  assert.equal(root.dependencies['http-cache-tests'], '0.4.5')
  for (const [name, { integrity, resolved }] of Object.entries(packages)) {
    assert.match(integrity, /^sha512-/, name)
    assert.equal(resolved, undefined, name)
  }
})
