/** Clients of a real Prosody that come over a WebSocket. */
import { checkWebSocketClients } from './behaviours/websocket.ts';
import { prosodyKind } from './prosody-kind.ts';

checkWebSocketClients(prosodyKind);
