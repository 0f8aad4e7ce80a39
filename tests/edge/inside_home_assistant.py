"""Run by Home Assistant's own interpreter: a bare Home Assistant with its MQTT integration, driven by lines of JSON.

Arguments: the port of the broker, a folder for its configuration, a port for its web server. In, one a line: {"do":
"states"}, {"do": "devices"}, {"do": "image", "entity": …}, {"do": "call", "domain": …, "service": …, "data": …}. Out:
the result, one line each. Home Assistant's own log goes to stderr.
"""

import asyncio
import base64
import json
import logging
import sys
from pathlib import Path
from typing import Any


async def started(port: int, folder: str) -> Any:
    """Home Assistant with MQTT set up as a user does it, by its own dialogue."""
    from homeassistant import auth, bootstrap, loader
    from homeassistant.config_entries import ConfigEntries
    from homeassistant.core import HomeAssistant
    from homeassistant.setup import async_setup_component

    await asyncio.to_thread(Path(folder, "configuration.yaml").touch)
    hass = HomeAssistant(folder)
    loader.async_setup(hass)
    hass.config.skip_pip = True
    hass.config_entries = ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    await hass.config_entries.async_initialize()
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    web = {"http": {"server_host": "127.0.0.1", "server_port": int(sys.argv[3])}}
    for component in ("homeassistant", "http"):
        assert await async_setup_component(hass, component, web), component
    await hass.async_start()
    if not hass.config_entries.async_entries("mqtt"):
        flow = hass.config_entries.flow
        asked = await flow.async_init("mqtt", context={"source": "user"})
        made = await flow.async_configure(asked["flow_id"], {"broker": "127.0.0.1", "port": port})
        assert made["type"] == "create_entry", made
    await hass.async_block_till_done()
    return hass


async def do(hass: Any, asked: dict[str, Any]) -> Any:
    """Do one line."""
    from homeassistant.helpers import device_registry, entity_registry

    if asked["do"] == "states":
        return {s.entity_id: {"state": s.state, **s.attributes} for s in hass.states.async_all()}
    if asked["do"] == "devices":
        entities = entity_registry.async_get(hass)
        return [
            {
                "name": device.name,
                "version": device.sw_version,
                "entities": {
                    e.entity_id: {"category": e.entity_category, "unique_id": e.unique_id}
                    for e in entity_registry.async_entries_for_device(entities, device.id)
                },
            }
            for device in device_registry.async_get(hass).devices.values()
        ]
    if asked["do"] == "image":
        found = await hass.data["image"].get_entity(asked["entity"]).async_image()
        return base64.b64encode(found or b"").decode()
    await hass.services.async_call(asked["domain"], asked["service"], asked["data"], blocking=True)
    return None


async def main() -> None:
    """Start, say so, and do what is asked until stdin ends."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    hass = await started(int(sys.argv[1]), sys.argv[2])
    print(json.dumps("ready"), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            answer = await do(hass, json.loads(line))
        except Exception as error:  # the test shows it
            answer = {"error": repr(error)}
        print(json.dumps(answer, default=str), flush=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main())
