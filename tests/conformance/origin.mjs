// The suite's origin server, `node origin.mjs SERVER`, on loopback only: by itself it listens on every interface, and serves files too.
import net from 'node:net'
import { pathToFileURL } from 'node:url'

const { listen } = net.Server.prototype
net.Server.prototype.listen = function (port) { return listen.call(this, port, '127.0.0.1') }

await import(pathToFileURL(process.argv[2]))
