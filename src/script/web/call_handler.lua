-- Calls a script's handler, and answers with what it returns. A handler that returns nothing answers by the exchange.
return function(handler)
    return function(request, exchange)
        local status, headers, body = handler(request, exchange)
        if status ~= nil then
            exchange:answer(status, headers, body)
        end
    end
end
