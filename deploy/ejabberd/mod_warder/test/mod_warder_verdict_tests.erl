%%% What foreign XML may become, and what a refusal says. Needs the library xmpp, and no ejabberd.
-module(mod_warder_verdict_tests).

-include_lib("eunit/include/eunit.hrl").
-include("xmpp.hrl").

-define(STANZAS, "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'").

xml_test_() ->
    {setup, fun() -> {ok, _} = application:ensure_all_started(xmpp) end, fun(_) -> ok end, [
        {"a stanza is read whichever stream it was written for", fun() ->
            lists:foreach(
                fun(Namespace) ->
                    Text = <<"<message", Namespace/binary, " to='bob@localhost'><body>hello</body></message>">>,
                    {ok, #message{body = [#text{data = <<"hello">>}]}} = mod_warder_stanza_xml:stanza(Text)
                end,
                [<<>> | [<<" xmlns='jabber:", Stream/binary, "'">> || Stream <- streams()]]
            )
        end},
        {"what is quoted in it keeps its namespace", fun() ->
            Text =
                <<"<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>"
                    "<body>hello</body></message></forwarded></message>">>,
            {ok, Stanza} = mod_warder_stanza_xml:stanza(Text),
            ?assertEqual(Text, mod_warder_stanza_xml:text(Stanza))
        end},
        {"no stanza is what would break the stream that it is sent to, or is none", fun() ->
            lists:foreach(
                fun(Text) -> ?assertEqual({Text, error}, {Text, mod_warder_stanza_xml:stanza(Text)}) end,
                [
                    <<>>,
                    <<"hello">>,
                    <<"<message>">>,
                    <<"<message/><message/>">>,
                    <<"<!DOCTYPE message [<!ENTITY a 'b'>]><message>&a;</message>">>,
                    <<"<body/>">>,
                    <<"<message xmlns='urn:x'/>">>,
                    <<"<message><x:y/></message>">>,
                    <<"<message x:y='z'/>">>,
                    <<"<stream:message/>">>,
                    <<"<message to='a b@c'/>">>,
                    <<"<message>", 255, "</message>">>,
                    nested(64),
                    <<"<message><body>", (binary:copy(<<"x">>, 262144))/binary, "</body></message>">>
                ]
            )
        end},
        {"a prefix that is declared is no harm, nor is depth within the bounds", fun() ->
            Declared = <<"<message xml:lang='de'><x:y xmlns:x='urn:x' x:z=''/></message>">>,
            {ok, #message{}} = mod_warder_stanza_xml:stanza(Declared),
            {ok, #message{}} = mod_warder_stanza_xml:stanza(nested(63))
        end},
        {"an error is whole, with what the application adds", fun() ->
            {ok, #stanza_error{type = auth, reason = forbidden, text = [#text{data = <<"No">>}], sub_els = [_]}} =
                mod_warder_stanza_xml:stanza_error(
                    <<"<error type='auth'><forbidden ", ?STANZAS, "/><text ", ?STANZAS, ">No</text>"
                        "<why xmlns='urn:x'/></error>">>
                ),
            {ok, #stanza_error{reason = #gone{}}} =
                mod_warder_stanza_xml:stanza_error(<<"<error type='cancel'><gone ", ?STANZAS, "/></error>">>)
        end},
        {"a replacement is the same stanza, or none", fun() ->
            Given = <<"from='alice@localhost/1' to='bob@localhost' id='1' type='chat'">>,
            {ok, Sent} = mod_warder_stanza_xml:stanza(<<"<message ", Given/binary, "/>">>),
            Verify = mod_warder_verdict:verify(Sent),
            IsOne = fun(Attributes) ->
                New = <<"<message ", Attributes/binary, "><body>new</body></message>">>,
                Verify(#{verdict => modify, stanza => New})
            end,
            ?assert(IsOne(Given)),
            ?assert(IsOne(<<"from='alice@localhost/1' to='bob@localhost' id='1' type='headline'">>)),
            ?assertNot(IsOne(<<"from='alice@localhost/1' to='bob@localhost' id='1' type='error'">>)),
            ?assertNot(IsOne(<<"from='alice@localhost/1' to='bob@localhost' type='chat'">>)),
            ?assertNot(IsOne(<<"to='bob@localhost' id='1' type='chat'">>)),
            ?assertNot(IsOne(<<"from='alice@localhost/2' to='bob@localhost' id='1' type='chat'">>)),
            ?assert(Verify(#{verdict => deny}))
        end}
    ]}.

error_test_() ->
    [
        {"says what the answer says, and its default otherwise", fun() ->
            ?assertMatch(
                #stanza_error{type = cancel, reason = 'not-allowed', text = [_]}, error_of(stanza_check, deny, #{})
            ),
            ?assertMatch(#stanza_error{type = auth, reason = forbidden, text = [_]}, error_of(join_check, deny, #{})),
            ?assertMatch(
                #stanza_error{type = modify, reason = #redirect{}, text = []},
                error_of(join_check, deny, #{type => modify, condition => redirect})
            ),
            ?assertMatch(
                #stanza_error{type = cancel, reason = 'not-allowed', text = [#text{data = <<"No">>}]},
                error_of(session_check, drop, #{text => <<"No">>})
            )
        end},
        {"a deferral says wait, whatever else it says", fun() ->
            ?assertMatch(
                #stanza_error{type = wait, reason = conflict, text = []},
                error_of(roster_set, defer, #{type => cancel, condition => conflict})
            ),
            ?assertMatch(
                #stanza_error{type = wait, reason = 'resource-constraint', text = [_]},
                error_of(stanza_check, defer, #{xml => <<"<error type='cancel'><gone ", ?STANZAS, "/></error>">>})
            )
        end}
    ].

error_of(Operation, Word, Error) ->
    mod_warder_verdict:error_of(Operation, #{verdict => Word, error => Error}).

streams() ->
    [<<"client">>, <<"server">>, <<"component:accept">>].

nested(Depth) ->
    {Open, Close} = {binary:copy(<<"<a xmlns='urn:a'>">>, Depth), binary:copy(<<"</a>">>, Depth)},
    <<"<message>", Open/binary, Close/binary, "</message>">>.
