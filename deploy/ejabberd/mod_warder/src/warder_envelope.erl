%%% What is sent of a question: the operation's own fields, the envelope that every request has, and the stanza where it is
%%% wanted and not too large.
-module(warder_envelope).

-export([payload/5]).

%% @doc Raises where a field has no form on the wire.
-spec payload(warder_ask:asker(), warder_ask:request(), WithStanza :: boolean(), Id :: binary(), LeftMs :: pos_integer()) ->
    binary().
payload(Asker, Request, WithStanza, Id, LeftMs) ->
    #{client := Client, server := Server, encoding := Encoding, min_seq := MinSeq} = Asker,
    Envelope = (maps:remove(<<"stanza">>, Request))#{
        <<"v">> => 1,
        <<"id">> => Id,
        <<"server">> => Server,
        <<"budget_ms">> => LeftMs,
        <<"min_seq">> => MinSeq()
    },
    Payload = warder_codec:encode(maps:merge(Envelope, stanza(WithStanza, Request, Asker)), Encoding),
    %% More than the broker takes would cost the connection that everybody shares.
    case byte_size(Payload) > warder_nats:max_payload(Client) of
        true -> warder_codec:encode(Envelope#{<<"stanza_omitted">> => true}, Encoding);
        false -> Payload
    end.

stanza(false, _Request, _Asker) ->
    #{};
stanza(true, #{<<"stanza">> := Given}, #{max_stanza_bytes := Max}) ->
    Stanza =
        case Given of
            _ when is_function(Given, 0) -> iolist_to_binary(Given());
            _ -> Given
        end,
    case byte_size(Stanza) =< Max of
        true -> #{<<"stanza">> => Stanza};
        false -> #{<<"stanza_omitted">> => true}
    end.
