/** Clients of a real ejabberd that come over a WebSocket. */
import { checkWebSocketClients } from './behaviours/websocket.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkWebSocketClients(ejabberdKind);
