// What a run means: the suite's results in words, the words against expected.json, the table of README.md. Pure.

const KINDS = ['required', 'optimal', 'check']
const GOOD = { required: 'pass', optimal: 'pass', check: 'yes' }
const BAD = { required: 'fail', optimal: 'fail', check: 'no' }

/**
 * The tests of a suite that are for a proxy, each as `{ id, kind, result, message }`, in the suite's order.
 *
 * `raw` is what the suite's CLI prints: id → true | [error, message]. `setup` is a test whose preconditions were not met, `retry` one whose
 * request came to the origin twice, `harness` one that the suite itself gave up, `none` one without any result.
 */
export function verdicts (groups, raw) {
  const tests = groups.flatMap(group => group.tests).filter(test => !test.browser_only)
  const known = new Set(tests.map(test => test.id))
  const strangers = Object.keys(raw).filter(id => !known.has(id)).map(id => ({ id }))
  return [...tests, ...strangers].map(({ id, kind = 'required' }) => {
    const [error, message = ''] = Array.isArray(raw[id]) ? raw[id] : []
    return { id, kind, result: word(kind, raw[id], error, message), message }
  })
}

function word (kind, raw, error, message) {
  if (!KINDS.includes(kind)) throw new Error(`a test of a kind that nobody knows: ${kind}`)
  if (raw === undefined) return 'none'
  if (raw === true) return GOOD[kind]
  if (error === 'Setup') return message === 'retry' ? 'retry' : 'setup'
  return error === 'AbortError' ? 'harness' : BAD[kind]
}

/** Whether a result needs a reason beside it: what a `check` asks has no right answer. */
export const isFailure = ({ kind, result }) => kind !== 'check' && result !== GOOD[kind]

/** Every difference between a run and what was expected of it, as `{ id, expected, got, message }`. */
export function drift (verdicts, expected) {
  const got = new Map(verdicts.map(verdict => [verdict.id, verdict]))
  const ids = new Set([...got.keys(), ...Object.keys(expected)])
  const say = verdict => verdict ? `${verdict.kind} ${verdict.result}` : 'no such test'
  return [...ids]
    .map(id => ({ id, expected: say(expected[id]), got: say(got.get(id)), message: got.get(id)?.message ?? '' }))
    .filter(({ expected, got }) => expected !== got)
}

/** What is wrong with the reasons: one that is missing, one that stands beside a test that needs none. */
export function unreasoned (expected) {
  return Object.entries(expected).flatMap(([id, entry]) => {
    const given = Boolean(entry.reason?.trim())
    if (isFailure(entry) && !given) return [`${id}: a ${entry.kind} test may not ${entry.result} without a reason`]
    return !isFailure(entry) && 'reason' in entry ? [`${id}: a reason, where nothing failed (${entry.result})`] : []
  })
}

/** What to expect from now on: the results of this run, with the reasons that were given before. */
export function rewritten (verdicts, expected) {
  return Object.fromEntries(verdicts.map(({ id, kind, result }) => {
    const entry = { kind, result }
    return [id, isFailure(entry) ? { ...entry, reason: expected[id]?.reason ?? '' } : entry]
  }))
}

/** expected.json as text: a line a test, so that a change reads well. */
export function text (expected) {
  const line = ([id, entry]) => `  ${JSON.stringify(id)}: ${JSON.stringify(entry)}`
  return `{\n${Object.entries(expected).map(line).join(',\n')}\n}\n`
}

/** The accepted failures as a table in Markdown. */
export function table (expected) {
  const row = ([id, { kind, result, reason }]) => `| \`${id}\` | ${kind} | ${result} | ${reason.replaceAll('|', '\\|')} |`
  const rows = Object.entries(expected).filter(([, entry]) => isFailure(entry)).map(row)
  return ['| test | kind | result | what Larder does, and why |', '|---|---|---|---|', ...rows].join('\n')
}

/** Such as `required 155/157, optimal 84/90, 43 of 87 checks say yes`. */
export function score (verdicts) {
  const of = kind => verdicts.filter(verdict => verdict.kind === kind)
  const good = kind => of(kind).filter(verdict => verdict.result === GOOD[kind]).length
  const [required, optimal] = ['required', 'optimal'].map(kind => `${kind} ${good(kind)}/${of(kind).length}`)
  return `${required}, ${optimal}, ${good('check')} of ${of('check').length} checks say yes`
}
