// Owns the failures of the lowest layer of the wire: bytes or strings that are not what they claim to be.

/** A payload that is no map in MessagePack or JSON, or not one that may be trusted. The message is the reason. */
export class MalformedPayload extends Error {
  override readonly name = 'MalformedPayload';
}

/** Text that is not one well-formed XML element of the kind that RFC 6120 allows. The message is the reason. */
export class MalformedXml extends Error {
  override readonly name = 'MalformedXml';
}

/** Text that is no JID, or one that the servers do not normalise alike. The message says which part, and what would be right. */
export class InvalidJid extends Error {
  override readonly name = 'InvalidJid';
}
