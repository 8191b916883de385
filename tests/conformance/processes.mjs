// The processes of a run. Whatever becomes of the run, none of them outlives it.
import { spawn } from 'node:child_process'

const running = new Set()
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))

/**
 * Starts a server and waits until what it writes matches `ready`.
 *
 * Gives the match, and `stop()`, which ends it and gives all it wrote; that it had ended by itself is an error.
 */
export async function serve (command, args, { ready, within, ...options }) {
  const child = start(command, args, options)
  let written = ''
  const match = await soon(within, `${command} to be ready`, (resolve, reject) => {
    const read = text => {
      written += text
      const found = ready.exec(written)
      if (found) resolve(found)
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.on('error', reject)
    child.on('close', code => reject(new Error(`${command} ended with ${code}:\n${written}`)))
  })
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${command} ended in mid-run with ${child.exitCode ?? child.signalCode}:\n${written}`)
    }
    const closed = new Promise(resolve => child.on('close', resolve))
    child.kill('SIGKILL')
    await closed
    return written
  }
  return { match, stop }
}

/** Runs a command to its end and gives its stdout; its stderr is ours. */
export async function run (command, args, { within, ...options }) {
  const child = start(command, args, { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
  let written = ''
  return soon(within, `${command} ${args.join(' ')} to end`, (resolve, reject) => {
    child.stdout.on('data', text => { written += text })
    child.on('error', reject)
    child.on('close', code => code === 0 ? resolve(written) : reject(new Error(`${command} ended with ${code}:\n${written}`)))
  })
}

function start (command, args, options) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  running.add(child)
  child.on('close', () => running.delete(child))
  child.stdout?.setEncoding('utf8')
  child.stderr?.setEncoding('utf8')
  return child
}

function soon (seconds, what, begin) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`waited ${seconds} s for ${what}`)), seconds * 1000)
    const settled = settle => value => { clearTimeout(late); settle(value) }
    begin(settled(resolve), settled(reject))
  })
}
